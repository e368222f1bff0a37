"""What a driver does to make ``truto`` known to a Spark session."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def register(spark: SparkSession, *, slots: int | None = None) -> None:
    """Make ``spark.read.format("truto")`` known to a session.

    ``slots`` is how many tasks run at once: by default the cores that the cluster has now. Spark
    Connect does not say: give it there. The option ``slots`` of a read gives another number.
    """
    from streamlic.integrations.spark.source import TrutoDataSource  # noqa: PLC0415  (pyspark)

    given = {"slots": spark.sparkContext.defaultParallelism if slots is None else slots}
    spark.dataSource.register(type("TrutoDataSource", (TrutoDataSource,), given))
