"""streamlic on Spark: ``spark.read.format("truto")``. Needs the extra ``spark``."""

from streamlic.integrations.spark.session import register

__all__ = ["register"]
