"""One Delta table through deltalake: opened, created, and changed in one commit.

Rules:
1. Data files are never written or read here, only Delta's log.
2. What deltalake raises is translated here. Its messages hold URLs and a store's answers, which
   may repeat what was signed: status and code are kept. So it is not the cause, either.
3. A commit that failed may have landed. Only the log says so: see ``transaction``.

Importing this module needs the extra ``delta``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from streamlic.dataset.lake import run_of, table_of
from streamlic.errors import DatasetConflict, IntegrityError, StoreError, UsageError
from streamlic.formatting import how_to_install
from streamlic.storage.base import Store

try:
    from deltalake import CommitProperties, DeltaTable, Field, Schema
    from deltalake.exceptions import (
        CommitFailedError,
        DeltaError,
        DeltaProtocolError,
        TableNotFoundError,
    )
    from deltalake.transaction import AddAction, RemoveAction, Transaction
except ImportError as error:
    raise UsageError(
        "Delta tables need the package deltalake, which is not installed: "
        f"{how_to_install('delta')}",
        parameter="format",
    ) from error

__all__ = [
    "AddAction",
    "DataFile",
    "LostCommit",
    "RemoveAction",
    "Table",
    "run_of_part",
    "with_columns",
]

OWNER: Final = "streamlic.lake"
"""The property of a table that holds the identity of its lake."""
_PROPERTIES: Final = {
    # A reader that opens the table reads at most so many commits since the last checkpoint.
    "delta.checkpointInterval": "20",
    # As long as Delta keeps its log. So every version in the log can be read, and a vacuum by
    # another engine leaves part files alone that are promised, and not committed yet.
    "delta.deletedFileRetentionDuration": "interval 30 days",
}
_FEATURES: Final = frozenset(
    {
        "appendOnly", "changeDataFeed", "checkConstraints", "generatedColumns", "invariants",
        "timestampNtz", "v2Checkpoint", "vacuumProtocolCheck",
    }
)  # fmt: skip
"""The features of tables to which part files can be added, and from which they can be removed.

Delta removes a file with a deletion vector by both: a commit that only names the file removes
nothing. Columns that are mapped have other names in the files.
"""
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_TRACE = re.compile(r"\s+0: <unknown>.*", re.DOTALL)
_QUERY = re.compile(r"\?[^\s'\")]*=[^\s'\")]*")
_ANSWER = re.compile(r"<(?:\?xml|Error|html)\b.*", re.DOTALL | re.IGNORECASE)
_CODE = re.compile(r"<(?:Code|code)>([A-Za-z0-9.]{1,60})</")
_LONGEST_REASON = 600
_DAMAGES: Final = {
    "No table metadata or protocol found": "its first commits are missing",
    "but found gap": "a commit between others is missing",
    "Json error": "a commit is not valid JSON",
}
"""What deltalake says of a log that is damaged, and what is wrong then."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file that readers of a table see."""

    bytes: int
    partition: dict[str, str | None]
    """Its partition values, by column."""


class LostCommit(Exception):
    """Another commit came first, or it was this one, and the answer was lost."""


class Table:
    """A Delta table as its log was when it was opened."""

    def __init__(self, delta: DeltaTable, where: str) -> None:
        self.where = where
        self._delta = delta
        self._files: dict[str, DataFile] | None = None

    @classmethod
    def opened(cls, store: Store, table: str) -> Table | None:
        """Return a table of a store; None if there is none."""
        where = store.where(table)
        with translated(where):
            try:
                return cls(DeltaTable(where, storage_options=store.storage_options()), where)
            except TableNotFoundError:
                return None

    @classmethod
    def create(
        cls, store: Store, table: str, schema: pa.Schema, *, lake: str, partition_by: Sequence[str]
    ) -> None:
        """Create an empty table of a lake, unless another writer creates one first."""
        where = store.where(table)
        with translated(where):
            try:
                DeltaTable.create(
                    where,
                    schema=Schema.from_arrow(schema),
                    partition_by=list(partition_by),
                    name=table,
                    configuration={OWNER: lake, **_PROPERTIES},
                    storage_options=store.storage_options(),
                    raise_if_key_not_exists=False,
                    # A retry would create the table over the one that came first.
                    commit_properties=CommitProperties(max_commit_retries=0),
                )
            except DeltaError:
                # Not ``is_deltatable``, which holds the interpreter's lock while it waits.
                if cls.opened(store, table) is None:
                    raise

    @property
    def owner(self) -> str | None:
        """The lake that the table was created for; None if streamlic did not create it."""
        return self._delta.metadata().configuration.get(OWNER)

    @property
    def partition_by(self) -> tuple[str, ...]:
        """Its partition columns."""
        return tuple(self._delta.metadata().partition_columns)

    @property
    def files(self) -> dict[str, DataFile]:
        """The files that readers see, by their paths."""
        if self._files is None:
            with translated(self.where):
                actions = self._delta.get_add_actions(flatten=True)
            paths = actions.column("path").to_pylist()
            sizes = actions.column("size_bytes").to_pylist()
            values = {
                name: actions.column(f"partition.{name}").to_pylist() for name in self.partition_by
            }
            self._files = {
                path: DataFile(
                    size, {name: _written(column[row]) for name, column in values.items()}
                )
                for row, (path, size) in enumerate(zip(paths, sizes, strict=True))
            }
        return self._files

    def unsupported(self, *, removes: bool) -> list[str]:
        """Return the table's features with which a commit would be refused, or wrong.

        Some tables take no commit that ``removes`` files.
        """
        protocol = self._delta.protocol()
        found = {*(protocol.reader_features or ()), *(protocol.writer_features or ())} - _FEATURES
        if self.property_of("delta.columnMapping.mode") not in (None, "none"):
            found.add("columnMapping")
        if removes and self.property_of("delta.appendOnly") == "true":
            found.add("appendOnly")
        return sorted(found)

    def transaction(self, application: str) -> int | None:
        """Return the version of the application's last commit; None if it has none."""
        with translated(self.where):
            return self._delta.transaction_version(application)

    def add_columns(self, schema: pa.Schema) -> bool:
        """Add the columns that the table lacks, and return whether there were any.

        Then it must be opened again. Raises DatasetConflict if a column has another type,
        LostCommit if the table changed meanwhile.
        """
        missing = self.missing_columns(schema)
        if missing:
            with translated(self.where), _lost():
                self._delta.alter.add_columns(missing)
        return bool(missing)

    def missing_columns(self, schema: pa.Schema) -> list[Field]:
        """Return the columns that the table lacks; DatasetConflict if one has another type."""
        wanted, present = Schema.from_arrow(schema), _types(self._delta.schema())
        for name, kind in _types(wanted).items():
            if present.get(name, kind) != kind:
                raise DatasetConflict(
                    f"column {name} of the Delta table {self.where} is {_said(present[name])}, "
                    f"and its new rows have {_said(kind)}",
                    advice="choose another {dest}",
                )
        return [field for field in wanted.fields if field.name not in present]

    def commit(
        self,
        actions: Sequence[AddAction | RemoveAction],
        application: str,
        version: int,
        note: str,
    ) -> None:
        """Add and remove files in one commit, which is the application's ``version``.

        Raises LostCommit if another commit came first, whatever it changed.
        """
        properties = CommitProperties(
            app_transactions=[Transaction(application, version)],
            max_commit_retries=0,
            custom_metadata={"userMetadata": note},
        )
        with translated(self.where), _lost():
            self._delta.create_write_transaction(
                list(actions),
                "append",  # The only mode that takes removes, too.
                self._delta.schema(),
                partition_by=list(self.partition_by),
                commit_properties=properties,
            )

    def unneeded(self, hours: int) -> list[str]:
        """Return paths of files that no version needs which is younger than ``hours``."""
        with translated(self.where):
            return self._delta.vacuum(
                retention_hours=hours, dry_run=True, enforce_retention_duration=False, full=True
            )

    def property_of(self, name: str) -> str | None:
        """Return a property of the table."""
        return self._delta.metadata().configuration.get(name)

    def shorten_log(self) -> None:
        """Write a checkpoint, and delete the log that Delta no longer keeps."""
        with translated(self.where):
            self._delta.create_checkpoint()
            self._delta.cleanup_metadata()


def with_columns(schema: pa.Schema, meanings: Mapping[str, str], *more: pa.Field) -> pa.Schema:
    """Return a schema as a new table has it: with what each column means, for its readers."""
    return pa.schema(
        [
            pa.field(
                field.name,
                field.type,
                metadata={"comment": meanings[field.name]} if field.name in meanings else None,
            )
            for field in [*schema, *more]
        ]
    )


def run_of_part(name: str) -> str | None:
    """Return the run of a part file, in whatever partition; None for any other file."""
    return run_of(f"{table_of(name)}/{name.rpartition('/')[2]}")


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise errors of ours in place of deltalake's."""
    try:
        yield
    except DeltaProtocolError as error:
        raise UsageError(
            f"the Delta table {where} has features that the installed deltalake cannot write: "
            f"{_reason(error)}",
            advice="update deltalake, or choose another {dest}",
        ) from None
    except (DeltaError, OSError, ValueError) as error:
        if why := next((why for text, why in _DAMAGES.items() if text in str(error)), ""):
            raise _damaged_log(where, why) from None
        raise StoreError(f"the Delta table {where}: {_reason(error)}") from None


def _damaged_log(where: str, why: str) -> IntegrityError:
    return IntegrityError(
        f"the log of the Delta table {where} is damaged: {why}",
        advice="bring back the files of its directory _delta_log, or export into another {dest}",
    )


@contextmanager
def _lost() -> Iterator[None]:
    try:
        yield
    except CommitFailedError as error:
        raise LostCommit(_reason(error)) from None


def _reason(error: Exception) -> str:
    """Return what an error says: in one line, without colours, queries and answers of a store."""
    text = _TRACE.sub("", _STYLE.sub("", str(error)).replace("↳", ":"))
    code = next(iter(_CODE.findall(text)), "")
    text = _QUERY.sub("", _ANSWER.sub(code, text))
    return " ".join(text.split())[:_LONGEST_REASON]


def _types(schema: Schema) -> dict[str, Any]:
    return {field["name"]: _bare(field["type"]) for field in json.loads(schema.to_json())["fields"]}


def _bare(kind: Any) -> Any:
    """Return a type without comments and the like."""
    if isinstance(kind, dict):
        return {key: _bare(value) for key, value in kind.items() if key != "metadata"}
    return [_bare(one) for one in kind] if isinstance(kind, list) else kind


def _said(kind: Any) -> str:
    return kind if isinstance(kind, str) else json.dumps(kind)


def _written(value: object) -> str | None:
    return None if value is None else str(value)
