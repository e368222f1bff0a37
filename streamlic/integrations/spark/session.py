"""What a driver does to make ``truto`` known to a Spark session."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def register(spark: SparkSession) -> None:
    """Make ``spark.read.format("truto")`` known to a session.

    The number of tasks that run at once is that of the cluster's cores now. The option ``slots``
    gives another.
    """
    from streamlic.integrations.spark.source import TrutoDataSource  # noqa: PLC0415  (pyspark)

    slots = spark.sparkContext.defaultParallelism
    spark.dataSource.register(type("TrutoDataSource", (TrutoDataSource,), {"slots": slots}))
