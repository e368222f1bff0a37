"""Stream Truto licenses into Parquet."""
