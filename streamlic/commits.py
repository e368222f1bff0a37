"""The commit log: what was promised, in which order, and where each account goes on.

Layout, below the dataset's root::

    part-<run>-<number>.parquet                what readers see
    _streamlic/<run>/request.json              what was asked
    _streamlic/<run>/commits/00000001.json     one promise: part files, and resume points
    _streamlic/<run>/staging/<part file>       written, not yet promised

Rules:
1. Part files are durable in staging before a commit record names them; the record is durable
   before they move into place; ``staging`` goes last. A crash between any two steps leaves a state
   that ``recover`` completes or undoes, and a crash in ``recover`` one that it completes again.
2. Each record holds the SHA-256 of the one before it (the first one that of ``request.json``), so
   that a record that is gone or altered is seen.
3. A run that overwrites keeps its part files in staging until it is complete; then they move in,
   and only then do the files of the runs that it replaces go.
4. Only the holder of the store's lock calls what writes.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from streamlic.dataset import PartFile
from streamlic.errors import IntegrityError, StoreError
from streamlic.store import LOG_DIRECTORY, LocalStore

_VERSION = 1
PART_PREFIX = "part-"
_REMOVED = "removed.json"


@dataclass(frozen=True, kw_only=True)
class ResumePoint:
    """How far an account has come: where it goes on, and what is committed of it so far."""

    cursor: str | None = None
    is_done: bool = False
    rows: int = 0
    rescued: int = 0
    pages: int = 0
    is_partial: bool = False


Points = Mapping[str | None, ResumePoint]
"""Resume points by account; None is the account of a body that has none."""


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
    last_sha256: str = ""
    is_resumed: bool = False

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
        taken = [int(file.name.removeprefix(self.part_prefix)[:6]) for file in self.files]
        return max(taken, default=0) + 1

    def point(self, account: str | None) -> ResumePoint:
        """Return how far an account has come."""
        return self.points.get(account, ResumePoint())

    def commit(self, files: Iterable[PartFile], points: Points, *, is_complete: bool) -> None:
        """Promise these staged files and resume points, then publish the files."""
        files = list(files)
        record = {
            "version": _VERSION,
            "run": self.id,
            "number": self.commits + 1,
            "created_at": _written(datetime.now(UTC)),
            "previous_sha256": self.last_sha256,
            "is_complete": is_complete,
            "files": [asdict(file) for file in files],
            "accounts": {account or "": asdict(point) for account, point in points.items()},
        }
        data = _json_bytes(record)
        self.store.write_exclusive(_record_name(self, self.commits + 1), data)
        self._fold(record, data)
        self.publish(files)

    def publish(self, files: Iterable[PartFile]) -> None:
        """Move promised files into place, if they are to be seen; end a complete run's work."""
        if not self.is_published:
            return
        for file in self.files if self.mode == "overwrite" else files:
            staged = f"{self.staging}/{file.name}"
            if self.store.exists(staged):
                self.store.move(staged, file.name)
            elif not self.store.exists(file.name):
                raise IntegrityError(
                    f"{file.name} was promised and is gone: fetch again with --restart, "
                    "or into another DEST"
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
        self.commits = record["number"]
        self.files = [*self.files, *(PartFile(**file) for file in record["files"])]
        for account, point in record["accounts"].items():
            self.points[account or None] = ResumePoint(**point)
        self.is_complete = record["is_complete"]
        self.last_sha256 = hashlib.sha256(data).hexdigest()

    def load_records(self) -> None:
        """Fold the run's commit records, in order; IntegrityError where one is gone or altered."""
        names = [name for name in self.store.names(f"{self.directory}/commits") if name[0] != "."]
        for number, name in enumerate(names, start=1):
            where = f"{self.directory}/commits/{name}"
            data = self.store.read(where)
            record = _parsed(data, where)
            if name != f"{number:08d}.json" or record.get("number") != number:
                raise IntegrityError(f"{where}: expected commit record {number}, one is missing")
            if record.get("previous_sha256") != self.last_sha256:
                raise IntegrityError(f"{where}: the record before it was altered")
            try:
                self._fold(record, data)
            except (KeyError, TypeError, ValueError) as error:
                raise IntegrityError(f"{where}: no commit record: {error!r}") from error


def begin_run(
    store: LocalStore,
    *,
    request: dict[str, Any],
    accounts: list[str | None],
    mode: str,
    replaces: list[str],
) -> Run:
    """Begin a run and make its request durable."""
    now = datetime.now(UTC).replace(microsecond=0)
    run_id = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
    body = {
        "version": _VERSION,
        "run": run_id,
        "started_at": _written(now),
        "mode": mode,
        "accounts": accounts,
        "replaces": replaces,
        "request": request,
    }
    data = _json_bytes(body)
    store.write_exclusive(f"{LOG_DIRECTORY}/{run_id}/request.json", data)
    run = _run_of(store, body, data)
    store.make_directory(run.staging)
    return run


def load_runs(store: LocalStore) -> list[Run]:
    """Return the dataset's runs, oldest first, each with its commit records folded."""
    runs = []
    for name in store.names(LOG_DIRECTORY):
        where = f"{LOG_DIRECTORY}/{name}/request.json"
        if store.exists(where) and not _is_removed(store, name):
            data = store.read(where)
            try:
                run = _run_of(store, _parsed(data, where), data)
            except (KeyError, TypeError, ValueError) as error:
                raise IntegrityError(f"{where}: no request of a run: {error!r}") from error
            if run.id != name:
                raise IntegrityError(f"{where}: it speaks of another run, {run.id}")
            run.load_records()
            runs.append(run)
    return runs


def recover(store: LocalStore) -> list[Run]:
    """Bring every run to the state that it promised; return the runs that are left."""
    for name in store.names(LOG_DIRECTORY):
        directory = f"{LOG_DIRECTORY}/{name}"
        if not store.path(directory).is_dir():
            continue
        if _is_removed(store, name):
            remove_run(store, name)
        elif not store.exists(f"{directory}/request.json"):
            store.delete_tree(directory)  # It had just begun when the process ended.
        else:
            for place in (directory, f"{directory}/commits"):
                for begun in store.names(place):
                    if begun.startswith("."):
                        store.delete(f"{place}/{begun}")
    for run in load_runs(store):
        run.recover()
    return load_runs(store)


def remove_run(store: LocalStore, run_id: str) -> None:
    """Remove a run and its part files; ``recover`` goes on with a removal that was cut short."""
    directory = f"{LOG_DIRECTORY}/{run_id}"
    if not store.exists(directory):
        return
    if not _is_removed(store, run_id):
        store.write_exclusive(f"{directory}/{_REMOVED}", b"{}\n")
    for name in store.names():
        if name.startswith(f"{PART_PREFIX}{run_id}-"):
            store.delete(name)
    for inner in ("staging", "commits"):
        store.delete_tree(f"{directory}/{inner}")
    store.delete(f"{directory}/request.json")
    store.delete_tree(directory)


def _is_removed(store: LocalStore, run_id: str) -> bool:
    return store.exists(f"{LOG_DIRECTORY}/{run_id}/{_REMOVED}")


def _run_of(store: LocalStore, body: dict[str, Any], data: bytes) -> Run:
    if body["version"] != _VERSION:
        raise StoreError(f"run {body['run']} was written by another version of streamlic")
    return Run(
        store=store,
        id=body["run"],
        started_at=datetime.fromisoformat(body["started_at"]),
        mode=body["mode"],
        request=body["request"],
        accounts=body["accounts"],
        replaces=body["replaces"],
        last_sha256=hashlib.sha256(data).hexdigest(),
    )


def _record_name(run: Run, number: int) -> str:
    return f"{run.directory}/commits/{number:08d}.json"


def _written(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _json_bytes(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, indent=1).encode() + b"\n"


def _parsed(data: bytes, where: str) -> dict[str, Any]:
    try:
        body = json.loads(data)
    except ValueError as error:
        raise IntegrityError(f"{where}: no JSON: {error}") from error
    if not isinstance(body, dict):
        raise IntegrityError(f"{where}: expected an object")
    return body
