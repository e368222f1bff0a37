"""How a commit becomes visible to readers: plain Parquet files."""
