"""streamlic on Spark: ``spark.read.format("truto")``. Needs the extra ``spark``."""
