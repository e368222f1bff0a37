"""The commit log: what was promised, in which order, and where each account goes on.

Layout, below the dataset's root::

    part-<run>-<number>.parquet                what readers see
    _streamlic/<run>/request.json              what was asked
    _streamlic/<run>/commits/00000001.json     one promise: part files, and resume points
    _streamlic/<run>/staging/<part file>       written, not yet promised

Rules:
1. Part files are durable in staging before a commit record names them; the record is durable
   before they move into place; ``staging`` goes last. A crash between any two steps leaves what
   recovery completes or undoes, and a crash in recovery what it completes the next time.
2. Each record holds its own SHA-256 and that of the one before it (the first one that of
   ``request.json``), so that a record that is gone or altered is seen.
3. A run that overwrites keeps its part files in staging until it is complete; then they move in,
   and only then do the files of the runs that it replaces go.
4. The record that completes such a run may supersede part files of the records before it: they are
   still in staging, and its own part files hold what counts of them.
5. Only the holder of the store's lock calls what writes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from streamlic.dataset.writer import PartFile
from streamlic.errors import IntegrityError, StoreError
from streamlic.storage.local import LOG_DIRECTORY, LocalStore

VERSION = 3
PART_PREFIX = "part-"
_REMOVED = "removed.json"
_RUN_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
_PART_NUMBER = re.compile(r"([0-9]{6,})\.parquet")


@dataclass(frozen=True, kw_only=True, slots=True)
class ResumePoint:
    """How far an account has come: where it goes on, and what is committed of it so far."""

    cursor: str | None = None
    is_done: bool = False
    rows: int = 0
    rescued: int = 0
    pages: int = 0
    is_partial: bool = False
    page_rows: int = 0
    page_ids_crc32: int = 0
    """Of the last page, by which it is known again."""


Points = Mapping[str | None, ResumePoint]
"""Resume points by account; None is the account of a body that has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Carried:
    """How many rows of an account come from a run that was replaced, and why."""

    rows: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """Why an account failed that a complete run was ended without, and whether a retry can help."""

    kind: str
    message: str
    retryable: bool


@dataclass(kw_only=True)
class Run:
    """One run of a dataset: its request, and what its commit records add up to."""

    store: LocalStore
    id: str
    started_at: datetime
    mode: str
    request: dict[str, Any]
    accounts: list[str | None]
    replaces: list[str]
    is_complete: bool = False
    commits: int = 0
    files: list[PartFile] = field(default_factory=list)
    points: dict[str | None, ResumePoint] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    """Accounts that were listed and not asked for when the run began, each with the reason."""
    carried_over: dict[str | None, Carried] = field(default_factory=dict)
    """Accounts whose rows the run has from the runs that it replaced."""
    failed: dict[str | None, Failed] = field(default_factory=dict)
    """Accounts that a complete run was ended without."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What the run began with that a later process may have otherwise, by the options' names."""
    last_sha256: str = ""
    is_resumed: bool = False
    completed_unreported: bool = False
    """True if the run completed but its process died before reporting it."""

    @property
    def directory(self) -> str:
        """The run's own directory, by its name in the store."""
        return f"{LOG_DIRECTORY}/{self.id}"

    @property
    def staging(self) -> str:
        """Where part files are written before they are promised."""
        return f"{self.directory}/staging"

    @property
    def part_prefix(self) -> str:
        """What the names of the run's part files begin with."""
        return f"{PART_PREFIX}{self.id}-"

    @property
    def rows(self) -> int:
        """The committed rows."""
        return sum(file.rows for file in self.files)

    @property
    def is_published(self) -> bool:
        """Whether what is committed is, or must be, where readers see it."""
        return self.is_complete or self.mode != "overwrite"

    def next_part_number(self) -> int:
        """Return the first number that no promised part file has."""
        return max((_part_number(self, file.name) for file in self.files), default=0) + 1

    @property
    def account_rows(self) -> dict[str | None, int]:
        """The committed rows of each account that has any, carried over ones too."""
        rows = {account: point.rows for account, point in self.points.items() if point.rows}
        for account, carried in self.carried_over.items():
            rows[account] = rows.get(account, 0) + carried.rows
        return rows

    def point(self, account: str | None) -> ResumePoint:
        """Return how far an account has come."""
        return self.points.get(account, ResumePoint())

    def commit(
        self,
        files: Iterable[PartFile],
        points: Points,
        *,
        is_complete: bool,
        superseded: Iterable[str] = (),
        carried_over: Mapping[str | None, Carried] | None = None,
        failed: Mapping[str | None, Failed] | None = None,
    ) -> None:
        """Promise these staged files and resume points, then publish the files.

        ``failed`` are the accounts that a run is completed without.
        ``superseded`` names promised part files that count no more; they must still be in staging.
        """
        files = list(files)
        record = {
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
        }
        data = json_bytes(record)
        self.store.write_exclusive(f"{self.directory}/commits/{self.commits + 1:08d}.json", data)
        self._fold(record, data)
        self.publish(files)

    def publish(self, files: Iterable[PartFile]) -> None:
        """Move promised files into place, if they are to be seen; end a complete run's work."""
        for file in self.files if self.is_complete and self.mode == "overwrite" else files:
            staged = f"{self.staging}/{file.name}"
            if self.store.exists(staged):
                if self.is_published:
                    self.store.move(staged, file.name)
            elif not (self.is_published and self.store.exists(file.name)):
                raise IntegrityError(
                    f"{file.name} in {self.store.root} was promised and is gone: "
                    "fetch again with --restart, or into another DEST"
                )
        if self.is_complete:
            for old in self.replaces:
                remove_run(self.store, old)
            self.store.delete_tree(self.staging)

    def recover(self) -> None:
        """Redo what was promised and undo what was not, after any end of the process."""
        if self.is_complete and not self.store.exists(self.staging):
            return
        promised = {file.name for file in self.files}
        for name in self.store.names(self.staging):
            if name not in promised:
                self.store.delete(f"{self.staging}/{name}")
        self.publish(self.files)

    def _fold(self, record: dict[str, Any], data: bytes) -> None:
        files = [_checked(self, PartFile(**file)) for file in record["files"]]
        superseded = set(record["superseded"])
        if unknown := superseded - {file.name for file in self.files}:
            raise ValueError(f"it supersedes {min(unknown)!r}, which no record before it promised")
        self.commits = record["number"]
        self.files = [*(file for file in self.files if file.name not in superseded), *files]
        for account, carried in record["carried_over"].items():
            self.carried_over[account or None] = Carried(**carried)
        for account, failed in record["failed"].items():
            self.failed[account or None] = Failed(**failed)
        for account, point in record["accounts"].items():
            self.points[account or None] = ResumePoint(**point)
        self.is_complete = record["is_complete"]
        self.last_sha256 = hashlib.sha256(data).hexdigest()

    def load_records(self) -> None:
        """Fold the run's commit records, in order; IntegrityError where one is gone or altered.

        The last record has none after it that could miss it: its part files do.
        """
        names = [name for name in self.store.names(f"{self.directory}/commits") if name[0] != "."]
        for number, name in enumerate(names, start=1):
            where = f"{self.directory}/commits/{name}"
            data = self.store.read(where)
            record = parsed(data, where)
            if name != f"{number:08d}.json" or record.get("number") != number:
                raise IntegrityError(f"{where}: expected commit record {number}, one is missing")
            if record.get("previous_sha256") != self.last_sha256:
                raise IntegrityError(f"{where}: the record before it was altered")
            try:
                self._fold(record, data)
            except (KeyError, TypeError, ValueError) as error:
                raise IntegrityError(f"{where}: no commit record: {error!r}") from error


def run_ids(store: LocalStore) -> list[str]:
    """Return the ids of the runs that have a directory, removed ones included, oldest first."""
    return [name for name in store.names(LOG_DIRECTORY) if _RUN_ID.fullmatch(name)]


def load_runs(store: LocalStore) -> list[Run]:
    """Return the dataset's runs, oldest first, each with its commit records folded."""
    runs = (load_run(store, run_id) for run_id in run_ids(store))
    return [run for run in runs if run]


def load_run(store: LocalStore, run_id: str) -> Run | None:
    """Return a run as its records tell it; None for one that hardly began or is being removed.

    A writer may remove it meanwhile: an error counts when the log gives it twice in a row.
    """
    before = ""
    while True:
        try:
            return _load_run(store, run_id)
        except (IntegrityError, StoreError) as error:
            if str(error) == before:
                raise
            before = str(error)


def _load_run(store: LocalStore, run_id: str) -> Run | None:
    where = request_name(run_id)
    if is_removed(store, run_id) or not (
        store.exists(where) or store.names(f"{LOG_DIRECTORY}/{run_id}/commits")
    ):
        return None
    if not store.exists(where):
        raise IntegrityError(f"{store.path(where)} is gone, and commit records depend on it")
    data = store.read(where)
    try:
        run = run_of(store, parsed(data, where), data)
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{where}: no request of a run: {error!r}") from error
    if run.id != run_id:
        raise IntegrityError(f"{where}: it speaks of another run, {run.id}")
    run.load_records()
    return run


def remove_run(store: LocalStore, run_id: str) -> None:
    """Remove a run and its part files; recovery goes on with a removal that was cut short."""
    directory = f"{LOG_DIRECTORY}/{run_id}"
    if not store.exists(directory):
        return
    if not is_removed(store, run_id):
        store.write_exclusive(f"{directory}/{_REMOVED}", b"{}\n")
    for name in store.names():
        if name.startswith(f"{PART_PREFIX}{run_id}-"):
            store.delete(name)
    for inner in ("staging", "commits"):
        store.delete_tree(f"{directory}/{inner}")
    store.delete(f"{directory}/request.json")
    store.delete_tree(directory)


def is_removed(store: LocalStore, run_id: str) -> bool:
    """Return whether the run's removal has begun."""
    return store.exists(f"{LOG_DIRECTORY}/{run_id}/{_REMOVED}")


def request_name(run_id: str) -> str:
    """Return the name of the file that holds a run's request."""
    return f"{LOG_DIRECTORY}/{run_id}/request.json"


def run_of(store: LocalStore, body: dict[str, Any], data: bytes) -> Run:
    """Return the run that a ``request.json`` of these bytes describes, without any commit."""
    if body["version"] != VERSION:
        raise StoreError(f"run {body['run']} was written by another version of streamlic")
    return Run(
        store=store,
        id=body["run"],
        started_at=datetime.fromisoformat(body["started_at"]),
        mode=body["mode"],
        request=body["request"],
        accounts=body["accounts"],
        replaces=body["replaces"],
        skipped=body["skipped"],
        settings=body["settings"],
        last_sha256=hashlib.sha256(data).hexdigest(),
    )


def written(moment: datetime) -> str:
    """Return a moment in UTC as the log has it (RFC 3339, with ``Z``)."""
    return moment.isoformat().replace("+00:00", "Z")


def json_bytes(body: Mapping[str, Any]) -> bytes:
    """Return the bytes of a file of the log: ``body`` and its own SHA-256, as ASCII JSON."""
    return _dumped({**body, "sha256": hashlib.sha256(_dumped(body)).hexdigest()})


def parsed(data: bytes, where: str) -> dict[str, Any]:
    """Return the body of a file of the log; IntegrityError, naming ``where``, if it was altered."""
    try:
        body = json.loads(data)
    except ValueError as error:
        raise IntegrityError(f"{where}: no JSON: {error}") from error
    if not isinstance(body, dict):
        raise IntegrityError(f"{where}: expected an object")
    digest = body.pop("sha256", None)
    if digest != hashlib.sha256(_dumped(body)).hexdigest():
        raise IntegrityError(f"{where}: it was altered: its SHA-256 differs")
    return body


def _dumped(body: Mapping[str, Any]) -> bytes:
    # ASCII, because a text may hold a lone surrogate, which UTF-8 cannot.
    return json.dumps(body, indent=1).encode() + b"\n"


def _part_number(run: Run, name: str) -> int:
    match = _PART_NUMBER.fullmatch(name.removeprefix(run.part_prefix))
    if match is None or not name.startswith(run.part_prefix):
        raise ValueError(f"{name!r} is no part file of run {run.id}")
    return int(match[1])


def _checked(run: Run, file: PartFile) -> PartFile:
    """Return the part file if a record may promise it: what is read here is trusted later."""
    _part_number(run, file.name)
    if any(type(count) is not int or count < 0 for count in (file.rows, file.bytes)):
        raise ValueError(f"{file.name}: rows and bytes must be counts")
    return file
