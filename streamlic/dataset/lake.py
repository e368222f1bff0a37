"""The tables of a lake: where each is, and what a row of it is.

::

    DEST/licenses/part-<run>-<epoch>-<number>.parquet   one row a license
    DEST/accounts/part-<run>-<epoch>-<number>.parquet   one row an account a run
    DEST/runs/part-<run>-<epoch>-<number>.parquet       one row a run
    DEST/_streamlic/                                    the commit log: see ``commit_log``

The epoch is that of the writer: see ``lake_state``.

Each table is a directory that holds nothing but its part files: any reader takes it by a glob.
``licenses`` is a history or the current state, as the mode of its runs says. ``accounts`` and
``runs`` are always histories. ``_run`` joins the three.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

import pyarrow as pa

from streamlic.schema.columns import JSON_VALUE, json_field
from streamlic.schema.values import TIMESTAMP
from streamlic.storage.base import Store

LOG_DIRECTORY: Final = "_streamlic"
RECORDS: Final = f"{LOG_DIRECTORY}/log"
"""The commit log's records."""
SNAPSHOTS: Final = f"{LOG_DIRECTORY}/snapshots"
STAGING: Final = f"{LOG_DIRECTORY}/staging"
"""Part files that readers do not see yet."""
LICENSES: Final = "licenses"
ACCOUNTS: Final = "accounts"
RUNS: Final = "runs"
TABLES: Final = (LICENSES, ACCOUNTS, RUNS)
"""In the order in which a run publishes them: a run that is in ``runs`` is whole in the others."""

PART_PREFIX: Final = "part-"
_OF_FORMATS: Final = frozenset({"_delta_log", "metadata"})
"""What Delta and Iceberg keep in a table's directory."""
_PARTITION = re.compile(r"export_date=[0-9-]{10}")
_PART_FILE = re.compile(
    r"[a-z]+/(export_date=[0-9-]{10}/)?part-(?P<run>[0-9TZ]+-[0-9a-f]+)-[0-9]+-[0-9]+\.parquet"
)
_EPOCH = re.compile(r"part-[0-9TZ]+-[0-9a-f]+-([0-9]+)-[0-9]+\.parquet")
_REWRITTEN = re.compile(
    r"[a-z]+/(export_date=[0-9-]{10}/)?part-[0-9TZ]+-[0-9a-f]{10}"
    r"-(?P<epoch>[0-9]+)-(?P<number>[0-9]+)\.parquet"
)
"""A rewritten part file. A run's id has two digits fewer."""
ACCOUNT_COLUMN: Final = "integrated_account_id"
INTEGRATION_COLUMN: Final = "integration"
TENANT_COLUMN: Final = "tenant_id"
EXPORTED_AT_COLUMN: Final = "_exported_at"
RUN_COLUMN: Final = "_run"

_ACCOUNT: Final = [
    pa.field(ACCOUNT_COLUMN, pa.string()),
    pa.field(INTEGRATION_COLUMN, pa.string()),
    pa.field(TENANT_COLUMN, pa.string()),
]
_RUN: Final = [pa.field(EXPORTED_AT_COLUMN, TIMESTAMP), pa.field(RUN_COLUMN, pa.string())]

REPEATED_COLUMNS: Final = frozenset(field.name for field in [*_ACCOUNT, *_RUN[1:]])
"""The columns of strings that are the same in all rows of a page."""

ACCOUNTS_SCHEMA: Final[pa.Schema] = pa.schema(
    [
        *_ACCOUNT,
        pa.field("status", pa.string()),
        pa.field("is_blocked", pa.bool_()),
        pa.field("outcome", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("rows", pa.int64()),
        pa.field("pages", pa.int64()),
        pa.field("rescued", pa.int64()),
        pa.field("partial_response", pa.bool_()),
        pa.field("error_kind", pa.string()),
        pa.field("error_message", pa.string()),
        pa.field("error_retryable", pa.bool_()),
        pa.field("started_at", TIMESTAMP),
        pa.field("ended_at", TIMESTAMP),
        pa.field("rows_exported_at", TIMESTAMP),
        *_RUN,
    ]
)
"""A row of ``accounts``: how one account fared in one run."""

RUNS_SCHEMA: Final[pa.Schema] = pa.schema(
    [
        pa.field("run_key", pa.string()),
        pa.field("mode", pa.string()),
        pa.field("started_at", TIMESTAMP),
        pa.field("ended_at", TIMESTAMP),
        pa.field("complete", pa.bool_()),
        pa.field("accounts", pa.int64()),
        pa.field("accounts_read", pa.int64()),
        pa.field("accounts_skipped", pa.int64()),
        pa.field("accounts_failed", pa.int64()),
        pa.field("accounts_carried_over", pa.int64()),
        pa.field("accounts_dropped", pa.int64()),
        pa.field("rows", pa.int64()),
        pa.field("rows_carried_over", pa.int64()),
        pa.field("pages", pa.int64()),
        pa.field("rescued", pa.int64()),
        pa.field("bytes", pa.int64()),
        pa.field("part_files", pa.int64()),
        pa.field("engine", pa.string()),
        pa.field("version", pa.string()),
        json_field("request", JSON_VALUE),
        *_RUN,
    ]
)
"""A row of ``runs``: one run that has ended. ``rows`` and ``bytes`` are those of ``licenses``."""


def licenses_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema of ``licenses``: the decoder's, after the account and before the run."""
    return pa.schema([*_ACCOUNT, *schema, *_RUN])


def with_dictionaries(schema: pa.Schema, columns: Collection[str]) -> pa.Schema:
    """Return the schema of batches that hold these columns of strings as dictionaries."""
    kind = pa.dictionary(pa.int32(), pa.string())
    return pa.schema([one.with_type(kind) if one.name in columns else one for one in schema])


def schema_of(table: str, schema: pa.Schema) -> pa.Schema:
    """Return the schema of a table; ``schema`` is the decoder's."""
    return {ACCOUNTS: ACCOUNTS_SCHEMA, RUNS: RUNS_SCHEMA}.get(table) or licenses_schema(schema)


def staged_name(name: str) -> str:
    """Return the name in staging of a part file.

    It does not end in ``.parquet``, which readers take that search a directory tree.
    """
    return f"{STAGING}/{name.replace('/', '.')}.staged"


def table_of(name: str) -> str:
    """Return the table of a part file."""
    return name.partition("/")[0]


def run_of(name: str) -> str | None:
    """Return the run of a part file, by its name; None for any other file.

    A rewritten part file has an id of the same form in its name, and no run has that id.
    """
    match = _PART_FILE.fullmatch(name)
    return match["run"] if match else None


def epoch_of(name: str) -> int:
    """Return the epoch of the writer of a part file, staged or not; 0 for any other file."""
    match = _EPOCH.search(name)
    return int(match[1]) if match else 0


def rewritten_name(table: str, time: str, epoch: int, number: int, *, partition: str = "") -> str:
    """Return the name of a part file that has rows of several runs.

    ``time`` is how the id of the oldest of them starts, ``epoch`` the writer's, and ``number`` the
    writer's own. Names of formats that have partitions keep ``partition``, such as
    ``export_date=2026-01-01``.
    """
    place = f"{PART_PREFIX}{time}-{epoch:010x}-{epoch:06d}-{number:06d}.parquet"
    return "/".join(filter(None, (table, partition, place)))


def rewritten_place(name: str) -> tuple[int, int] | None:
    """Return epoch and number of a rewritten part file, by its name; None for any other file."""
    match = _REWRITTEN.fullmatch(name)
    return (int(match["epoch"]), int(match["number"])) if match else None


def names_in_tables(store: Store) -> list[str]:
    """Return the names of all that is in the tables' directories, but for table formats' own."""
    names = []
    for table in TABLES:
        for name in store.names(table):
            if _PARTITION.fullmatch(name):
                names += [f"{table}/{name}/{one}" for one in store.names(f"{table}/{name}")]
            elif name not in _OF_FORMATS:
                names.append(f"{table}/{name}")
    return names


def foreign_names(store: Store) -> list[str]:
    """Return the names of what is neither a table nor the log."""
    return [name for name in store.names() if name not in (LOG_DIRECTORY, *TABLES)]
