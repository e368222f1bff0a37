"""What a driver does to make ``truto`` known to a Spark session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamlic.errors import UsageError
from streamlic.truto.rate_limit import TOKEN_RATE_LIMIT, RateLimit, parse_rate_limit

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession


def register(
    spark: SparkSession,
    *,
    slots: int | None = None,
    token_rate_limit: RateLimit | str = TOKEN_RATE_LIMIT,
    permit_port: int | None = 0,
) -> None:
    """Make ``spark.read.format("truto")`` known to a session.

    ``slots`` is how many tasks run at once: by default the cores that the cluster has now. The
    option ``slots`` of a read gives another number.

    Tasks that use the token of the environment lease permits of this process, so that they use all
    of ``token_rate_limit`` and no more, whichever of them need it. They connect to ``permit_port``
    of the host that Spark's own connections to the driver use; 0 is any free port. With None, and
    where that port cannot be reached, each task has an equal part of the rate. An application that
    shares the token with others gives a part: ``RateLimit(500, 10).share(1, 2)``.

    On Spark Connect the driver's process is another one: give ``slots``. There are no permits then.
    """
    from streamlic.integrations.spark.permits import lease_permits  # noqa: PLC0415  (loads slowly)
    from streamlic.integrations.spark.source import TrutoDataSource  # noqa: PLC0415  (pyspark)

    limit = _parsed(token_rate_limit)
    context: SparkContext | None = getattr(spark, "sparkContext", None)
    if slots is None:
        if context is None:
            raise UsageError("Spark Connect does not say how many tasks run at once: give slots")
        slots = context.defaultParallelism
    permits = None
    if context is not None and limit is not None and permit_port is not None:
        host = context.getConf().get("spark.driver.host")
        bind_host = context.getConf().get("spark.driver.bindAddress", host)
        permits = lease_permits(limit, host=host, bind_host=bind_host, port=permit_port)
    own = {"slots": slots, "permits": permits}
    spark.dataSource.register(type("TrutoDataSource", (TrutoDataSource,), own))


def _parsed(limit: RateLimit | str) -> RateLimit | None:
    return parse_rate_limit(limit, "token_rate_limit") if isinstance(limit, str) else limit
