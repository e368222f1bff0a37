"""What a run's request and commit records add up to: a fold, without any I/O.

Rules:
1. The request comes first, then the commit records in order, each once.
2. A record that breaks a rule raises KeyError, TypeError or ValueError, and the state is spent.
3. A record may supersede part files of earlier records: they no longer count.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from copy import copy
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from streamlic.dataset.lake import LICENSES, LOG_DIRECTORY, PART_PREFIX, TABLES, table_of
from streamlic.dataset.records import (
    UNKNOWN,
    VERSION,
    AccountDetails,
    Carried,
    Failed,
    PartFile,
    Points,
    ResumePoint,
    written,
)
from streamlic.errors import DatasetConflict

PUBLISH = ("complete", "commits")
_PART_NUMBER = re.compile(r"([0-9]{6,})\.parquet")


@dataclass(kw_only=True)
class RunState:
    """One run of a lake: its request, and the sum of its commit records."""

    id: str
    started_at: datetime
    mode: str
    request: dict[str, Any]
    accounts: list[str | None]
    replaces: list[str]
    skipped: dict[str, str] = field(default_factory=dict)
    """Accounts that were listed but not requested when the run started, each with the reason."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Options of the first process, by name, that a later one may change."""
    key: str | None = None
    """The name that the caller gave the run."""
    publish: str = "complete"
    """When readers see its rows: when it is "complete", or as it "commits"."""
    details: dict[str | None, AccountDetails] = field(default_factory=dict)
    """What is known of accounts, skipped ones too."""
    is_complete: bool = False
    commits: int = 0
    files: list[PartFile] = field(default_factory=list)
    points: dict[str | None, ResumePoint] = field(default_factory=dict)
    carried_over: dict[str | None, Carried] = field(default_factory=dict)
    """Accounts whose rows come from the runs that this one replaced."""
    failed: dict[str | None, Failed] = field(default_factory=dict)
    """Accounts that a complete run does not have."""
    dropped: dict[str | None, int] = field(default_factory=dict)
    """Accounts that no longer exist, each with the rows that were not carried over."""
    is_replaced: bool = False
    """Whether a later run has replaced its rows of ``licenses``."""
    last_sha256: str = ""
    """Of the request, or of the last record."""
    is_resumed: bool = False
    is_repeated: bool = False
    """Whether this process asked again for a run that was complete, by its key."""
    discarded: list[RunState] = field(default_factory=list)
    """Unfinished runs that were removed when this one started, in this process."""
    completed_unreported: bool = False
    """True if the run completed but its process died before reporting it."""

    @classmethod
    def of(cls, body: Mapping[str, Any], data: bytes) -> Self:
        """Return the run of a ``request.json`` with this body and these bytes, without commits."""
        if body["version"] != VERSION:
            raise DatasetConflict(
                f"run {body['run']} was written by another version of streamlic, whose lake has "
                "another layout",
                advice="choose a new {dest} and export again",
            )
        return cls(
            id=body["run"],
            started_at=datetime.fromisoformat(body["started_at"]),
            mode=body["mode"],
            request=body["request"],
            accounts=body["accounts"],
            replaces=body["replaces"],
            skipped=body["skipped"],
            settings=body["settings"],
            key=body["key"],
            publish=body["publish"],
            details=_details_of(body["details"]),
            last_sha256=hashlib.sha256(data).hexdigest(),
        )

    def next_record(
        self,
        files: Iterable[PartFile],
        points: Points,
        *,
        is_complete: bool,
        superseded: Iterable[str] = (),
        carried_over: Mapping[str | None, Carried] | None = None,
        failed: Mapping[str | None, Failed] | None = None,
        details: Mapping[str | None, AccountDetails] | None = None,
        dropped: Mapping[str | None, int] | None = None,
    ) -> dict[str, Any]:
        """Return the commit record that would promise this next."""
        return {
            "version": VERSION,
            "run": self.id,
            "number": self.commits + 1,
            "created_at": written(datetime.now(UTC)),
            "previous_sha256": self.last_sha256,
            "is_complete": is_complete,
            "files": [asdict(file) for file in files],
            "superseded": sorted(superseded),
            "accounts": {account or "": asdict(point) for account, point in points.items()},
            "carried_over": {
                account or "": asdict(carried) for account, carried in (carried_over or {}).items()
            },
            "failed": {account or "": asdict(one) for account, one in (failed or {}).items()},
            "details": {account or "": asdict(one) for account, one in (details or {}).items()},
            "dropped": {account or "": rows for account, rows in (dropped or {}).items()},
        }

    def after(self, files: Iterable[PartFile], points: Points, **promised: Any) -> Self:
        """Return the state after a record of this, as ``next_record`` takes it.

        This one stays as it is.
        """
        later = copy(self)
        for name in ("points", "carried_over", "failed", "details", "dropped"):
            setattr(later, name, dict(getattr(self, name)))
        later.add(files, points, **promised)
        return later

    def fold(self, record: Mapping[str, Any], data: bytes) -> None:
        """Take the next commit record, with this body and these bytes."""
        if record["number"] != self.commits + 1:
            raise ValueError(f"expected record {self.commits + 1}, got {record['number']}")
        if record["previous_sha256"] != self.last_sha256:
            raise ValueError("the record before it was altered")
        files = [self._checked(PartFile(**file)) for file in record["files"]]
        superseded = set(record["superseded"])
        if unknown := superseded - {file.name for file in self.files}:
            raise ValueError(f"it supersedes {min(unknown)!r}, which no earlier record promised")
        self.add(
            files,
            {account or None: ResumePoint(**one) for account, one in record["accounts"].items()},
            is_complete=record["is_complete"],
            superseded=superseded,
            carried_over={
                account or None: Carried(**one) for account, one in record["carried_over"].items()
            },
            failed={account or None: Failed(**one) for account, one in record["failed"].items()},
            details=_details_of(record["details"]),
            dropped={account or None: rows for account, rows in record["dropped"].items()},
        )
        self.commits = record["number"]
        self.last_sha256 = hashlib.sha256(data).hexdigest()

    def add(
        self,
        files: Iterable[PartFile],
        points: Points,
        *,
        is_complete: bool,
        superseded: Collection[str],
        carried_over: Mapping[str | None, Carried],
        failed: Mapping[str | None, Failed],
        details: Mapping[str | None, AccountDetails],
        dropped: Mapping[str | None, int],
    ) -> None:
        """Add what a record promises."""
        self.files = [*(file for file in self.files if file.name not in superseded), *files]
        self.points.update(points)
        self.carried_over.update(carried_over)
        self.failed.update(failed)
        self.details.update(details)
        self.dropped.update(dropped)
        self.is_complete = is_complete

    def shed(self) -> None:
        """Forget what is known of single accounts: in many nights of many accounts it is much."""
        self.accounts = []
        for known in (self.skipped, self.points, self.details, self.carried_over, self.failed):
            known.clear()
        self.dropped.clear()

    @property
    def directory(self) -> str:
        """The run's own directory."""
        return f"{LOG_DIRECTORY}/{self.id}"

    @property
    def staging(self) -> str:
        """The directory of part files that readers do not see yet."""
        return f"{self.directory}/staging"

    @property
    def license_files(self) -> list[PartFile]:
        """The promised part files of licenses, replaced or not."""
        return self.files_of(LICENSES)

    @property
    def live_files(self) -> list[PartFile]:
        """The part files that count now: of a replaced run those of its other tables."""
        if not self.is_replaced:
            return self.files
        return [file for file in self.files if table_of(file.name) != LICENSES]

    @property
    def rows(self) -> int:
        """The committed rows of licenses."""
        return sum(file.rows for file in self.license_files)

    @property
    def is_published(self) -> bool:
        """Whether readers see, or must see, what is committed."""
        return self.is_complete or self.publish == "commits"

    def files_of(self, table: str) -> list[PartFile]:
        """Return the promised part files of a table."""
        return [file for file in self.files if table_of(file.name) == table]

    @property
    def account_rows(self) -> dict[str | None, int]:
        """The committed rows of each account that has any, carried over rows included."""
        rows = {account: point.rows for account, point in self.points.items() if point.rows}
        for account, carried in self.carried_over.items():
            rows[account] = rows.get(account, 0) + carried.rows
        return rows

    def staged(self, name: str) -> str:
        """Return the name in staging of one of the run's part files.

        It does not end in ``.parquet``, which readers take that search a directory tree.
        """
        return f"{self.staging}/{name.replace('/', '.')}.staged"

    def part_name(self, number: int, table: str = LICENSES) -> str:
        """Return the name of the run's part file of this number."""
        return f"{table}/{PART_PREFIX}{self.id}-{number:06d}.parquet"

    def details_of(self, account: str | None) -> AccountDetails:
        """Return what is known of an account."""
        return self.details.get(account, UNKNOWN)

    def point(self, account: str | None) -> ResumePoint:
        """Return how far an account was read."""
        return self.points.get(account, ResumePoint())

    def next_part_number(self) -> int:
        """Return the first number that no promised part file of licenses has."""
        return max((self._part_number(file.name) for file in self.license_files), default=0) + 1

    def _part_number(self, name: str) -> int:
        prefix = f"{table_of(name)}/{PART_PREFIX}{self.id}-"
        match = _PART_NUMBER.fullmatch(name.removeprefix(prefix))
        if match is None or not name.startswith(prefix) or table_of(name) not in TABLES:
            raise ValueError(f"{name!r} is not a part file of run {self.id}")
        return int(match[1])

    def _checked(self, file: PartFile) -> PartFile:
        """Return the part file if a record may promise it: later code trusts it."""
        self._part_number(file.name)
        if any(type(count) is not int or count < 0 for count in (file.rows, file.bytes)):
            raise ValueError(f"{file.name}: rows and bytes must be counts")
        return file


def _details_of(written: Mapping[str, Any]) -> dict[str | None, AccountDetails]:
    return {account or None: AccountDetails(**one) for account, one in written.items()}
