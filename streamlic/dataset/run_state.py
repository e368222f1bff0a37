"""What a run's records add up to: a fold, without any I/O.

Rules:
1. The request comes first, then the promises in order, each once.
2. A record that breaks a rule raises KeyError, TypeError or ValueError, and the state is spent.
3. A promise may supersede part files of earlier ones: they no longer count.
4. Of a run that has ended, what is known of single accounts may be shed: ``in_full`` has it.
5. Of part files that the run no longer has, because their rows lie in other files of the lake or
   are gone, only the totals are kept.
6. Several processes may read one run at once: each has a shard of its accounts, and claims it.
   What a shard ended without, it retries when it is claimed again.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self

from streamlic.dataset.lake import LICENSES, PART_PREFIX, TABLES, run_of, staged_name, table_of
from streamlic.dataset.records import (
    UNKNOWN,
    AccountDetails,
    Carried,
    Failed,
    Format,
    PartFile,
    Promise,
    ResumePoint,
    Shards,
    Totals,
    each_of,
    plain,
    plain_each,
    written,
)

PUBLISH = ("complete", "commits")
_PART_NUMBER = re.compile(r"-([0-9]{6,})-([0-9]{6,})\.parquet$")


@dataclass(kw_only=True)
class RunState:
    """One run of a lake: its request, and the sum of its promises."""

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
    format: Format = field(default_factory=Format)
    """How readers see its rows."""
    shards: Shards = field(default_factory=Shards)
    """The processes that read it, if not one reads all accounts."""
    details: dict[str | None, AccountDetails] = field(default_factory=dict)
    """What is known of accounts, skipped ones too."""
    is_complete: bool = False
    is_finished: bool = False
    """Whether it is complete, and no work of it is left."""
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
    is_expired: bool = False
    """Whether its rows of ``licenses`` were too old to be kept. Its records may be deleted."""
    elsewhere: dict[str, Totals] = field(default_factory=dict)
    """What it promised in part files that it no longer has, by table."""
    first_record: int = 0
    """The number of the log's record that started it."""
    last_record: int = 0
    """The number of its last one."""
    epoch: int = field(default=0, compare=False)
    """The number of the record by which this process claimed the lake; 0 if it only reads."""
    numbers_after: int = field(default=0, compare=False)
    """What the numbers of this process's part files follow."""
    is_resumed: bool = field(default=False, compare=False)
    is_repeated: bool = field(default=False, compare=False)
    """Whether this process asked again for a run that was complete, by its key."""
    discarded: list[RunState] = field(default_factory=list, compare=False)
    """Unfinished runs that were removed when this one started, in this process."""
    completed_unreported: bool = field(default=False, compare=False)
    """True if the run completed but its process died before reporting it."""

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """Return the run that this record starts, without commits."""
        return cls(
            id=record["run"],
            started_at=datetime.fromisoformat(record["started_at"]),
            mode=record["mode"],
            request=record["request"],
            accounts=record["accounts"],
            replaces=record["replaces"],
            skipped=record["skipped"],
            settings=record["settings"],
            key=record["key"],
            publish=record["publish"],
            format=Format(**record["format"]),
            shards=Shards(of=record["shards"]),
            details=each_of(AccountDetails, record["details"]),
            first_record=record["number"],
            last_record=record["number"],
        )

    def request_as_json(self) -> dict[str, Any]:
        """Return what the record that starts the run says of it."""
        return {
            "run": self.id,
            "started_at": written(self.started_at),
            "key": self.key,
            "mode": self.mode,
            "publish": self.publish,
            "format": plain(self.format),
            "shards": self.shards.of,
            "accounts": self.accounts,
            "details": plain_each(self.details),
            "replaces": self.replaces,
            "skipped": self.skipped,
            "settings": self.settings,
            "request": self.request,
        }

    def as_json(self) -> dict[str, Any]:
        """Return the state as JSON values, for ``from_json``."""
        promised = Promise(
            files=self.files,
            points=self.points,
            carried_over=self.carried_over,
            failed=self.failed,
            dropped=self.dropped,
        )
        return {
            **promised.as_json(),
            **self.request_as_json(),
            "number": self.first_record,
            "last_record": self.last_record,
            "commits": self.commits,
            "is_complete": self.is_complete,
            "is_finished": self.is_finished,
            "is_replaced": self.is_replaced,
            "is_expired": self.is_expired,
            **self.shards.as_json(),
            "elsewhere": {table: plain(totals) for table, totals in self.elsewhere.items()},
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """Return the state that ``as_json`` wrote."""
        run = cls.of(state)
        run.add(Promise.of(state, is_complete=state["is_complete"]))
        run.commits = state["commits"]
        run.last_record = state["last_record"]
        run.is_finished = state["is_finished"]
        run.is_replaced = state["is_replaced"]
        run.is_expired = state["is_expired"]
        run.shards = Shards.from_json(state)
        run.elsewhere = {table: Totals(**one) for table, one in state["elsewhere"].items()}
        return run

    def after(self, promise: Promise) -> Self:
        """Return the state after a promise. This one stays as it is."""
        later = copy(self)
        for name in ("points", "carried_over", "failed", "details", "dropped"):
            setattr(later, name, dict(getattr(self, name)))
        later.add(promise)
        return later

    def fold(self, record: Mapping[str, Any]) -> None:
        """Take the next promise of the log."""
        promise = Promise.of(record, is_complete=record["kind"] == "complete")
        for file in promise.files:
            self._check(file)
        if unknown := {*promise.superseded} - {file.name for file in self.files}:
            raise ValueError(f"it supersedes {min(unknown)!r}, which no earlier record promised")
        self.take(promise, record["number"])
        if record.get("ends_shard"):
            self.shards.ended.add(record["shard"])

    def claim_shard(self, shard: int, number: int) -> None:
        """Take the record of this number, which claims a shard; ValueError if none may."""
        if self.is_complete:
            raise ValueError(f"run {self.id} is complete")
        self.shards.claim(shard, number)
        failed = self.failed.items()
        self.failed = {one: why for one, why in failed if not self.shards.has(shard, one)}

    def take(self, promise: Promise, number: int) -> None:
        """Add the promise of the log's record of this number."""
        self.add(promise)
        self.commits += 1
        self.last_record = number

    def add(self, promise: Promise) -> None:
        """Add what is promised."""
        if promise.superseded:
            superseded = {*promise.superseded}
            self.files = [file for file in self.files if file.name not in superseded]
        self.files = [*self.files, *promise.files]
        self.points.update(promise.points)
        self.carried_over.update(promise.carried_over)
        self.failed.update(promise.failed)
        self.details.update(promise.details)
        self.dropped.update(promise.dropped)
        self.is_complete = promise.is_complete

    def give_up(self, names: Collection[str]) -> None:
        """Forget part files that the run no longer has; their totals stay."""
        for file in self.files:
            if file.name in names:
                table = table_of(file.name)
                totals = self.elsewhere.get(table, Totals()).plus(file)
                self.elsewhere = {**self.elsewhere, table: totals}
        self.files = [file for file in self.files if file.name not in names]

    def expire(self) -> None:
        """Forget the licenses: they were too old to be kept."""
        self.is_expired = True
        self.give_up({file.name for file in self.license_files})

    def shed(self) -> Self:
        """Return it without what is known of single accounts: in many nights that is much."""
        return replace(
            self,
            accounts=[],
            skipped={},
            points={},
            details={},
            carried_over={},
            failed={},
            dropped={},
        )

    @property
    def license_files(self) -> list[PartFile]:
        """The part files of licenses that the run has, replaced or not."""
        return self.files_of(LICENSES)

    @property
    def has_licenses(self) -> bool:
        """Whether the lake has its licenses, if it is complete: neither replaced nor expired."""
        return not (self.is_replaced or self.is_expired)

    @property
    def live_files(self) -> list[PartFile]:
        """The part files that count now: of a replaced run those of its other tables."""
        if self.has_licenses:
            return self.files
        return [file for file in self.files if table_of(file.name) != LICENSES]

    @property
    def rows(self) -> int:
        """The committed rows of licenses, wherever they lie now."""
        return self.totals(LICENSES).rows

    @property
    def is_in_place(self) -> bool:
        """Whether part files have their names from the start: the format's own log hides them."""
        return self.format.is_in_place

    @property
    def is_published(self) -> bool:
        """Whether readers see, or must see, what is committed."""
        return self.is_complete or self.publish == "commits"

    def files_of(self, table: str) -> list[PartFile]:
        """Return the part files of a table that the run has."""
        return [file for file in self.files if table_of(file.name) == table]

    def totals(self, table: str) -> Totals:
        """Return what the run promised of a table, in whatever files its rows lie now."""
        totals = self.elsewhere.get(table, Totals())
        for file in self.files_of(table):
            totals = totals.plus(file)
        return totals

    @property
    def account_rows(self) -> dict[str | None, int]:
        """The committed rows of each account that has any, carried over rows included."""
        rows = {account: point.rows for account, point in self.points.items() if point.rows}
        for account, carried in self.carried_over.items():
            rows[account] = rows.get(account, 0) + carried.rows
        return rows

    def staged(self, name: str) -> str:
        """Return where one of the run's part files is until readers may see it.

        A format whose own log says what readers see has its files in place from the start.
        """
        return name if self.is_in_place else staged_name(name)

    def part_name(self, number: int, table: str = LICENSES) -> str:
        """Return the name of this process's part file of this number.

        It has the writer's epoch: so two writers never give a file the same name.
        """
        place = f"{PART_PREFIX}{self.id}-{self.epoch:06d}-{number:06d}.parquet"
        if self.format.partition_by and table == LICENSES:
            # polars 2.1 reads a partition's value from the path.
            place = f"{self.format.partition_by}={self.started_at:%Y-%m-%d}/{place}"
        return f"{table}/{place}"

    def details_of(self, account: str | None) -> AccountDetails:
        """Return what is known of an account."""
        return self.details.get(account, UNKNOWN)

    def point(self, account: str | None) -> ResumePoint:
        """Return how far an account was read."""
        return self.points.get(account, ResumePoint())

    def next_part_number(self) -> int:
        """Return the first number that no promised part file of licenses of this process has."""
        places = (self._place(file.name) for file in self.license_files)
        mine = (number for epoch, number in places if epoch == self.epoch)
        return max(self.numbers_after, *mine, 0) + 1

    def _place(self, name: str) -> tuple[int, int]:
        """Return a part file's epoch and number; ValueError if it is not one of the run's."""
        match = _PART_NUMBER.search(name)
        if match is None or run_of(name) != self.id or table_of(name) not in TABLES:
            raise ValueError(f"{name!r} is not a part file of run {self.id}")
        return int(match[1]), int(match[2])

    def _check(self, file: PartFile) -> None:
        """Raise ValueError if a record may not promise a part file: later code trusts it."""
        self._place(file.name)
        if any(type(count) is not int or count < 0 for count in (file.rows, file.bytes)):
            raise ValueError(f"{file.name}: rows and bytes must be counts")
