"""A lake whose tables are Iceberg tables."""
