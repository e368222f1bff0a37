"""The reference engine, on ijson."""
