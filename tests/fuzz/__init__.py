"""What is run for longer than a test: fuzz targets, and the comparison of the engines."""
