"""A lake in DuckDB: its tables and what is defined on them, for reading only.

The commit log says which part files count, so every table format is read the same way, and no
extension of DuckDB is needed. Files of an object store are read piece by piece.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from io import SEEK_END
from typing import TYPE_CHECKING, Any

from streamlic.answers.definitions import NEWEST, VIEWS
from streamlic.dataset.commit_log import load_lake
from streamlic.dataset.destination import why_no_dataset
from streamlic.dataset.lake import LICENSES, TABLES, table_of
from streamlic.dataset.lake_state import LakeState
from streamlic.dataset.records import PartFile
from streamlic.dataset.run_state import RunState
from streamlic.errors import IntegrityError, MachineError, StoreError, UsageError
from streamlic.formatting import how_to_install
from streamlic.storage.base import NotFound, Store
from streamlic.storage.scratch import scratch_place

if TYPE_CHECKING:
    import duckdb

_PROTOCOL = "lake"
_MIB = 1 << 20
DEFAULT_MEMORY_BYTES = 768 * _MIB
_OWN_BYTES = 160 * _MIB
"""What Python, Arrow and DuckDB take before any row."""


@dataclass(frozen=True, kw_only=True)
class Night:
    """A run that has ended, and whose licenses the lake has."""

    run: str
    key: str | None
    at: str
    """When it started, as the log writes a moment."""
    mode: str
    moment: str
    """When it started, as people write it, in UTC: as exact as tells it from the other nights."""

    @property
    def day(self) -> date:
        """The date that its run key begins with, or that of its start, in UTC."""
        with suppress(ValueError):
            return date.fromisoformat((self.key or "")[:10])
        return datetime.fromisoformat(self.at).astimezone(UTC).date()

    @property
    def label(self) -> str:
        """What people call it: its run key, or when it started, in UTC."""
        return self.key or self.moment


class LakeSql:
    """A connection to DuckDB with the tables and views of a lake."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        nights: Sequence[Night],
        expired: Sequence[str],
        is_damaged: Callable[[], bool],
    ) -> None:
        self.connection = connection
        self.nights = nights
        """Those that the lake has the licenses of, the oldest first."""
        self.expired = expired
        """The runs that have expired."""
        self.is_damaged = is_damaged
        """Looks whether part files are what the log promises."""

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        result = self.connection.execute(query, values or None)
        names = [column[0] for column in result.description or ()]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def ask(self, query: str) -> tuple[list[str], Iterator[dict[str, Any]]]:
        """Return the columns and the rows of a user's query; UsageError if it is not valid."""
        import duckdb  # noqa: PLC0415  # an extra

        try:
            statements = duckdb.extract_statements(query)
            if len(statements) != 1 or statements[0].type is not duckdb.StatementType.SELECT:
                raise UsageError("expected one query that starts with select, from or with")
            result = self.connection.execute(query)
        except (duckdb.OutOfMemoryException, duckdb.IOException):
            raise
        except duckdb.Error as error:
            if self.is_damaged():
                raise
            raise UsageError(f"the query is not valid: {error}") from error
        names = [column[0] for column in result.description or ()]
        rows = iter(result.fetchone, None)
        return names, (dict(zip(names, row, strict=True)) for row in rows)

    def one(self, query: str, *values: Any) -> dict[str, Any]:
        """Return the only row of a query."""
        [row] = self.rows(query, *values)
        return row


@contextmanager
def open_sql(
    store: Store, *, memory_bytes: int = DEFAULT_MEMORY_BYTES, scratch: str | None = None
) -> Iterator[LakeSql]:
    """Open a lake in DuckDB. Nothing of it can be changed.

    ``memory_bytes`` is the target of the whole process; what does not fit is written to a directory
    in ``scratch``. Raises UsageError if there is no lake, it has no night, its rows are raw, or
    DuckDB is not installed; IntegrityError if a part file is missing or damaged.
    """
    try:
        import duckdb  # noqa: PLC0415  # an extra
    except ModuleNotFoundError as error:
        raise not_installed(error) from error
    lake, ended = lake_and_nights(store)
    place = scratch_place(scratch)
    try:
        place.mkdir(parents=True, exist_ok=True)
        spill = tempfile.mkdtemp(prefix="streamlic-sql-", dir=place)
    except OSError as error:
        raise StoreError(
            f"{place}: {error.strerror}",
            advice="choose a directory that can be written as {scratch}",
        ) from error
    connection = duckdb.connect(":memory:")
    try:
        connection.execute("set temp_directory = ?", [spill])
        limit = max(memory_bytes - _OWN_BYTES, 128 * _MIB) // _MIB
        connection.execute("set memory_limit = ?", [f"{limit}MiB"])
        connection.execute("set preserve_insertion_order = false")
        connection.execute("set timezone = 'UTC'")
        _define(connection, store, lake)
        nights = _nights([run for run in ended if run.has_licenses])
        yield LakeSql(
            connection,
            nights,
            [run.id for run in ended if run.is_expired],
            lambda: bool(_damage(store)),
        )
    except duckdb.OutOfMemoryException as error:
        raise MachineError(
            f"the query needs more than {limit} MiB, or more room in {spill}: {_first_line(error)}",
            advice="give it more with {memory}, or another {scratch}",
        ) from error
    except duckdb.Error as error:
        advice = "`streamlic verify` says which files are damaged"
        if damage := _damage(store):
            raise IntegrityError(damage, advice=advice) from error
        # A class of DuckDB's own is a fault of the data; others come from the files' store.
        kind = IntegrityError if isinstance(error, duckdb.InvalidInputException) else StoreError
        what = f"a file of {store.where()} cannot be read: {_first_line(error)}"
        raise kind(what, advice=advice) from error
    finally:
        connection.close()
        shutil.rmtree(spill, ignore_errors=True)


def _nights(runs: Sequence[RunState]) -> list[Night]:
    """Return runs as nights: named by their minute, or more exactly if that is not their own."""
    taken = Counter(name for run in runs for name in _moments(run))
    return [
        Night(
            run=run.id,
            key=run.key,
            at=run.started_at.isoformat(),
            mode=run.mode,
            moment=next(name for name in _moments(run) if taken[name] == 1),
        )
        for run in runs
    ]


def _moments(run: RunState) -> tuple[str, str, str]:
    """Return when a run started, as people write it, more and more exactly."""
    at = run.started_at.astimezone(UTC)
    second = f"{at:%Y-%m-%d %H:%M:%S}"
    return f"{at:%Y-%m-%d %H:%M}", second, f"{second} ({run.id})"


def lake_and_nights(store: Store) -> tuple[LakeState, list[RunState]]:
    """Return a lake and its nights, the oldest first.

    Raises UsageError if there is no lake, it has no night, or its rows are raw.
    """
    if why := why_no_dataset(store):
        raise UsageError(why)
    lake = load_lake(store)
    ended = [run for run in lake.oldest_first if run.is_complete]
    if not ended:
        raise UsageError(f"{store.where()} has no run that is complete yet")
    if any(run.request.get("raw") for run in ended if run.has_licenses):
        raise UsageError(
            f"{store.where()} holds raw rows, which have no columns of seats: export without "
            "raw to get them"
        )
    return lake, ended


def view_of(table: str) -> str:
    """Return the view of a table's rows as they are in the lake."""
    return "license_files" if table == LICENSES else table


def quoted(text: str) -> str:
    """Return a text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def _damage(store: Store) -> str | None:
    """Say which part file is missing or has another size than the log promises, if one is."""
    for file in _shown(load_lake(store)):
        where = store.where(file.name)
        try:
            with store.open(file.name) as opened:
                size = opened.seek(0, SEEK_END)
        except NotFound:
            return f"{where} is missing"
        except (StoreError, OSError) as error:
            return None if isinstance(error, StoreError) else f"{where} cannot be read: {error}"
        if size != file.bytes:
            return f"{where} is damaged: expected {file.bytes:,} bytes, got {size:,}"
    return None


def _shown(lake: LakeState) -> list[PartFile]:
    """Return the part files of the nights."""
    shown = [file for run in lake.runs.values() if run.is_complete for file in run.live_files]
    return shown + [one.file for one in lake.live_rewritten]


def _first_line(error: Exception) -> str:
    """Return what DuckDB says, without its advice about its own settings."""
    return str(error).partition("\n")[0]


def not_installed(error: ModuleNotFoundError) -> UsageError:
    """Return the error for a library of the extra that is missing."""
    return UsageError(f"{error.name} is not installed: {how_to_install('report')}")


def _define(connection: duckdb.DuckDBPyConnection, store: Store, lake: LakeState) -> None:
    shown = _shown(lake)
    is_local = "://" not in store.where()
    if not is_local:
        from streamlic.answers.store_files import StoreFiles  # noqa: PLC0415  # an extra

        sizes = {file.name: file.bytes for file in shown}
        connection.register_filesystem(StoreFiles(store, sizes))
    for table in TABLES:
        names = sorted(file.name for file in shown if table_of(file.name) == table)
        paths = (store.where(one) if is_local else f"{_PROTOCOL}://{one}" for one in names)
        files = ", ".join(quoted(path) for path in paths)
        source = f"read_parquet([{files}], hive_partitioning = false)"
        connection.execute(f"create view {view_of(table)} as from {source}")
    connection.execute(NEWEST)
    for name, query in VIEWS.items():
        connection.execute(f"create view {name} as {query}")
