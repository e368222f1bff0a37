"""A lake whose tables are Delta tables."""
