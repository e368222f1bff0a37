"""What the commit log's records hold, and how they are written: ASCII JSON with its own SHA-256.

A record is ``{"version": …, "number": …, "kind": …, …, "sha256": "…"}`` and a line feed. The
SHA-256 is that of the bytes before it, closed by a brace.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self, TypeVar

from streamlic.errors import IntegrityError

VERSION = 7
Kept = TypeVar("Kept")
_DIGEST = re.compile(rb', "sha256": "([0-9a-f]{64})"}\n')
_DIGEST_BYTES = len(', "sha256": ""}') + 64 + 1


NOT_ASKED_FOR = "not asked for"
"""Why an account was not read: its run did not ask for it."""

DEFAULT_NAMESPACE = "streamlic"
"""That of tables in a catalog that is given without one."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """How the tables of a lake are shown to readers; it stays as the first run chose it."""

    name: str = "parquet"
    """parquet, delta or iceberg."""
    partition_by: str | None = None
    catalog: str | None = None

    @property
    def is_in_place(self) -> bool:
        """Whether part files have their names from the start: the format's own log hides them."""
        return self.name != "parquet"

    @property
    def namespace(self) -> str:
        """The catalog and the namespace of the tables, as SQL names them."""
        catalog = self.catalog or ""
        return catalog if "." in catalog else f"{catalog}.{DEFAULT_NAMESPACE}"


@dataclass(frozen=True, kw_only=True)
class WantedFormat:
    """What was asked of a lake's format. What is None takes the lake's own."""

    name: str | None = None
    partition_by: str | None = None
    """A column, or ``UNPARTITIONED``."""
    catalog: str | None = None


UNPARTITIONED = "none"
"""Asks for tables without partitions."""


@dataclass(frozen=True)
class PartFile:
    """A part file that is complete and durable."""

    name: str
    """Its name in the lake: the table, a slash, and the file."""
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Totals:
    """What part files of one table add up to."""

    files: int = 0
    rows: int = 0
    bytes: int = 0

    def plus(self, file: PartFile) -> Totals:
        """Return the totals with one more part file."""
        return Totals(self.files + 1, self.rows + file.rows, self.bytes + file.bytes)


@dataclass(frozen=True)
class Rewritten:
    """A part file that has rows of several runs, in place of their own part files."""

    file: PartFile
    segments: Sequence[tuple[str, int]]
    """Its rows in their order: a run's id, and how many rows follow of the run's part files.

    A run's part file may have rows that it carried over, whose ``_run`` is an earlier one.
    """

    @property
    def runs(self) -> set[str]:
        """The runs whose rows it has."""
        return {run_id for run_id, _ in self.segments}

    @property
    def rows_of(self) -> Counter[str]:
        """How many rows it has of each run."""
        rows = Counter[str]()
        for run_id, count in self.segments:
            rows[run_id] += count
        return rows

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**plain(self.file), "segments": [[*segment] for segment in self.segments]}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Return it from JSON values; KeyError or TypeError if they are not such."""
        of_file = {name: value for name, value in values.items() if name != "segments"}
        return cls(PartFile(**of_file), [(run_id, rows) for run_id, rows in values["segments"]])


def shard_of(account: str | None, shards: int) -> int:
    """Return which of so many shards has an account, from 1.

    It is by a hash of the account alone: a longer list moves no account to another shard.
    """
    digest = hashlib.sha256((account or "").encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % shards + 1


@dataclass(kw_only=True)
class Shards:
    """The shards of a run that several processes read at once, each under claims of its own."""

    of: int = 0
    """How many there are; 0 if one process reads all accounts."""
    epochs: dict[int, list[int]] = field(default_factory=dict)
    """The numbers of the records that claimed each shard: the last is its writer's epoch."""
    ended: set[int] = field(default_factory=set)
    """Those whose accounts were all read, or may be missing."""

    def claim(self, shard: int, number: int) -> None:
        """Take the record of this number, which claims a shard; ValueError if there is none."""
        if not 1 <= shard <= self.of:
            raise ValueError(f"there is no shard {shard} of {self.of}")
        self.epochs.setdefault(shard, []).append(number)
        self.ended.discard(shard)

    def has(self, shard: int, account: str | None) -> bool:
        """Return whether an account belongs to a shard."""
        return shard_of(account, self.of) == shard

    def epoch(self, shard: int) -> int:
        """Return the epoch of the writer of a shard; 0 if none has claimed it."""
        return self.epochs.get(shard, [0])[-1]

    @property
    def live_epochs(self) -> set[int]:
        """The epochs of writers that may have part files which no record promises yet."""
        return {epochs[-1] for shard, epochs in self.epochs.items() if shard not in self.ended}

    @property
    def have_ended(self) -> bool:
        """Whether all have ended."""
        return len(self.ended) == self.of

    def as_json(self) -> dict[str, Any]:
        """Return them as JSON values, for ``from_json``."""
        return {
            "shards": self.of,
            "shard_epochs": [*self.epochs.items()],
            "ended_shards": sorted(self.ended),
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """Return what ``as_json`` wrote."""
        epochs = {shard: [*numbers] for shard, numbers in state["shard_epochs"]}
        return cls(of=state["shards"], epochs=epochs, ended={*state["ended_shards"]})


@dataclass(frozen=True, kw_only=True, slots=True)
class ResumePoint:
    """How far an account was read: the next cursor, and what is committed of it."""

    cursor: str | None = None
    is_done: bool = False
    rows: int = 0
    rescued: int = 0
    pages: int = 0
    is_partial: bool = False
    page_rows: int = 0
    page_ids_crc32: int = 0
    """Of the last page, to recognize it if the API sends it again."""
    started_at: str | None = None
    """When its first page was taken, as the log writes a moment."""
    ended_at: str | None = None
    """When its last page was taken."""


Points = Mapping[str | None, ResumePoint]
"""Resume points by account; None is the account of a body that has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Carried:
    """How many rows of an account come from a replaced run, and why."""

    rows: int
    reason: str
    exported_at: str | None = None
    """When the newest of them were exported, as the log writes a moment."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """Why a complete run does not have an account, and whether a retry can help.

    ``parameter`` is the Python name of the parameter that the error is about, if there is one.
    """

    kind: str
    message: str
    retryable: bool
    parameter: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountDetails:
    """What is known of an account, besides its id. None is unknown.

    Truto knows more of an account, secrets among it: no other field is kept.
    """

    integration: str | None = None
    """The integration's name, such as ``slack``."""
    tenant_id: str | None = None
    status: str | None = None
    is_blocked: bool | None = None


UNKNOWN = AccountDetails()


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What a commit promises: rows, and where each account continues, together or not at all.

    ``superseded`` names promised part files that no longer count. ``failed`` are the accounts that
    a complete run does not have, ``dropped`` those that no longer exist, with their rows.
    """

    files: Sequence[PartFile] = ()
    points: Points = field(default_factory=dict)
    is_complete: bool = False
    superseded: Sequence[str] = ()
    carried_over: Mapping[str | None, Carried] = field(default_factory=dict)
    failed: Mapping[str | None, Failed] = field(default_factory=dict)
    details: Mapping[str | None, AccountDetails] = field(default_factory=dict)
    dropped: Mapping[str | None, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "files": [plain(file) for file in self.files],
            "superseded": sorted(self.superseded),
            "points": plain_each(self.points),
            "carried_over": plain_each(self.carried_over),
            "failed": plain_each(self.failed),
            "details": plain_each(self.details),
            "dropped": {account or "": rows for account, rows in self.dropped.items()},
        }

    @classmethod
    def of(cls, record: Mapping[str, Any], *, is_complete: bool) -> Self:
        """Return it from JSON values; KeyError or TypeError if they are not such."""
        return cls(
            files=[PartFile(**file) for file in record["files"]],
            points=each_of(ResumePoint, record["points"]),
            is_complete=is_complete,
            superseded=record["superseded"],
            carried_over=each_of(Carried, record["carried_over"]),
            failed=each_of(Failed, record["failed"]),
            details=each_of(AccountDetails, record["details"]),
            dropped={account or None: rows for account, rows in record["dropped"].items()},
        )


def plain(value: Any) -> dict[str, Any]:
    """Return a flat dataclass as a dict; ``dataclasses.asdict`` takes ten times as long."""
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def plain_each(values: Mapping[str | None, Any]) -> dict[str, dict[str, Any]]:
    """Return what is kept of each account as JSON values; the account None is ``""``."""
    return {account or "": plain(value) for account, value in values.items()}


def each_of(kind: type[Kept], values: Mapping[str, Any]) -> dict[str | None, Kept]:
    """Return what is kept of each account from JSON values."""
    return {account or None: kind(**value) for account, value in values.items()}


def json_bytes(body: Mapping[str, Any]) -> bytes:
    """Return the bytes of a file of the log: ``body`` and its own SHA-256, as ASCII JSON."""
    # ASCII, because a text may hold a lone surrogate, which UTF-8 cannot. Not indented: Python's
    # encoder for that takes a second for the accounts of a large environment.
    data = json.dumps(body).encode()
    return data[:-1] + f', "sha256": "{hashlib.sha256(data).hexdigest()}"}}\n'.encode()


def parsed(data: bytes, where: str) -> dict[str, Any]:
    """Return the body of a file of the log; IntegrityError, naming ``where``, if it was altered."""
    digest = _DIGEST.fullmatch(data[-_DIGEST_BYTES:])
    content = data[:-_DIGEST_BYTES] + b"}"
    if digest is None or digest[1].decode() != hashlib.sha256(content).hexdigest():
        raise IntegrityError(f"{where}: it was altered: its SHA-256 differs")
    try:
        body = json.loads(content)
    except ValueError as error:
        raise IntegrityError(f"{where}: invalid JSON: {error}") from error
    if not isinstance(body, dict):
        raise IntegrityError(f"{where}: expected an object")
    return body


def written(moment: datetime) -> str:
    """Return a moment in UTC as the log writes it (RFC 3339, with ``Z``)."""
    return moment.isoformat().replace("+00:00", "Z")
