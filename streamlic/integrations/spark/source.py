"""The data source ``truto`` of Spark: a batch reader, planned on the driver, read in executors.

Rules:
1. Everything that can be wrong is found on the driver, before a task starts: Spark tries a failed
   task four times. Options are checked by ``load``, columns when the read is planned.
2. There is no ``pushFilters``. Spark 4.1 to 4.3 give a pushed filter's rows to other uses of the
   same DataFrame too: their rows are wrong.
3. There is at least one partition: of an empty list Spark makes one with the value None.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition
from pyspark.sql.types import StructType

from streamlic.errors import StreamlicError
from streamlic.integrations.spark.columns import column_names, spark_schema
from streamlic.integrations.spark.option_table import read_options, spelled
from streamlic.integrations.spark.permits import Permits
from streamlic.integrations.spark.plan import ReadPlan
from streamlic.integrations.spark.reading import Reading, Wanted, read
from streamlic.truto.rate_limit import RateLimit


@contextmanager
def _spelled() -> Iterator[None]:
    """Let errors name the options of Spark."""
    try:
        yield
    except StreamlicError as error:
        raise spelled(error) from None


@dataclass
class Bundle(InputPartition):  # type: ignore[misc]  # pyspark's types are not used
    """A partition: the accounts of one task.

    ``limit`` is its part of the token's rate, where the driver leases no permits.
    """

    accounts: Mapping[str, Wanted]
    limit: RateLimit | None


class TrutoDataSource(DataSource):  # type: ignore[misc]
    """Licenses of the Truto API: ``spark.read.format("truto").option("accounts", …).load()``.

    ``slots`` is the number of tasks that run at once, where no option says it. ``permits`` are
    those of the driver, if it leases any.
    """

    slots: ClassVar[int | None] = None
    permits: ClassVar[Permits | None] = None

    def __init__(self, options: MutableMapping[str, str]) -> None:
        super().__init__(options)
        with _spelled():
            self._plan = ReadPlan.of(read_options(options), slots=self.slots, permits=self.permits)

    @classmethod
    def name(cls) -> str:
        """Return what ``format`` takes."""
        return "truto"

    def schema(self) -> StructType:
        """Return all columns."""
        return spark_schema(raw=self._plan.is_raw)

    def reader(self, schema: StructType) -> TrutoReader:
        """Return the reader of these columns, which may be those of a user."""
        with _spelled():
            return TrutoReader(
                self._plan,
                self._plan.reading(column_names(schema, raw=self._plan.is_raw)),
            )


class TrutoReader(DataSourceReader):  # type: ignore[misc]
    """Divides the accounts among tasks on the driver, and reads them in executors."""

    def __init__(self, plan: ReadPlan, reading: Reading) -> None:
        self._plan = plan
        self._reading = reading

    def partitions(self) -> list[Bundle]:
        """Return the bundles of accounts. Spark calls this once a ``load``."""
        with _spelled():
            bundles = self._plan.bundles()
            limit = self._plan.limit_of_a_task(sum(map(len, bundles)))
            return [Bundle(accounts, limit) for accounts in bundles]

    def read(self, partition: Bundle) -> Iterator[pa.RecordBatch]:
        """Yield a bundle's licenses. Called in an executor."""
        with _spelled():
            task = TaskContext.get()
            is_again = task is not None and task.attemptNumber() > 0
            yield from read(self._reading, partition.accounts, partition.limit, is_again=is_again)
