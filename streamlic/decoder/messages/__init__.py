"""The words of decode errors, for both engines: what was expected, what came, and where."""
