"""The commit log: what was promised, in which order, and where each account continues.

Layout, in the lake::

    _streamlic/log/00000001.json        one record, of any run: see ``lake_state`` for the kinds
    _streamlic/snapshots/00000100.json  what the records up to this one add up to
    _streamlic/staging/<part file>      part files that readers do not see yet

Rules:
1. A record is created only if no other has its number. So of two writers one is refused, however
   late its request arrives: it meets the claim, or a later record, of the other one. A writer that
   meets records of others and no claim of its own place takes them, and appends after them.
2. A snapshot is written after its record, and says nothing that the records do not. It makes
   opening a lake quick. Runs that have ended are in it without their single accounts. Without one
   that is damaged, the one before it and the records after that say the same.
3. Old records are deleted only below a snapshot, and only those that no run needs which has not
   expired. Claims stay: what follows a writer's last record refuses its next one. A claim with the
   number of a deleted record does not count.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from streamlic.dataset.destination import Fenced, lake_lost, run_changed, shard_lost
from streamlic.dataset.lake import LOG_DIRECTORY, RECORDS, SNAPSHOTS
from streamlic.dataset.lake_state import BEGIN, CLAIM, COMMIT, COMPLETE, LakeState, check_version
from streamlic.dataset.records import Promise, json_bytes, parsed, written
from streamlic.dataset.run_state import RunState
from streamlic.errors import IntegrityError, StoreError
from streamlic.storage.base import AlreadyExists, NotFound, Store

_NUMBERED = re.compile(r"([0-9]{8,})\.json")
_SNAPSHOT_RECORDS = 100
_SNAPSHOT_BYTES = 1 << 20
_KEPT_SNAPSHOTS = 2
_OLD_RUN = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")


class CommitLog:
    """A lake's log, for its one writer, or for that of a shard: a run's id, and the number."""

    def __init__(self, store: Store, lake: LakeState, shard: tuple[str, int] | None = None) -> None:
        self.lake = lake
        self._store = store
        self._shard = shard
        self._epoch = self._epoch_in(lake)  # Of the last claim of its place, as far as it knows.
        self._records = lake.number - max(numbers_in(store, SNAPSHOTS), default=0)
        self._bytes = 0  # Of the records since the last snapshot that this process wrote.
        self._due_bytes = _SNAPSHOT_BYTES

    def append(
        self, kind: str, body: Mapping[str, Any], promise: Promise | None = None
    ) -> dict[str, Any]:
        """Make the next record durable, take it, and return it.

        ``promise`` is what a commit's body says. Raises Fenced if another process has become the
        writer, or has written a shard of a run that the record completes or removes.
        """
        if self._epoch < 0:
            raise self._fenced()
        concerned = {body.get("run"), *body.get("runs", ())}
        while True:
            record = {
                **self.lake.next_record(kind, secrets.token_hex(8), self._epoch),
                "created_at": written(datetime.now(UTC)),
                **body,
            }
            data = json_bytes(record)
            try:
                self._store.create(record_name(record["number"]), data)
                break
            except AlreadyExists:
                changed = self._catch_up() & concerned
                if changed and self._shard is None:  # Decided without what shards wrote meanwhile.
                    raise run_changed(self._store.where(), str(changed.pop())) from None
        if not self._is_in_log(record, data):
            # This process loaded the log long ago, and the number is that of a deleted record.
            self._store.delete(record_name(record["number"]))
            raise self._fenced()
        if kind == BEGIN or self._shard:
            self.lake.fold(record, data)
        else:
            if promise:
                self.lake.runs[body["run"]].take(promise, record["number"])
            self.lake.advance(record, data)
        if kind == CLAIM:
            self._epoch = record["number"]
        self._records += 1
        self._bytes += len(data)
        return record

    def check_epoch(self) -> None:
        """Raise Fenced if another process has become the writer."""
        with suppress(StoreError, IntegrityError):
            now = load_lake(self._store)
            if now.number and self._epoch_in(now) != self._epoch:  # 0: it vanished with its disk.
                raise self._fenced()

    def write_snapshot_if_due(self) -> None:
        """Write a snapshot if there are many records, or many bytes of them, since the last one."""
        if self._records < _SNAPSHOT_RECORDS and self._bytes < self._due_bytes:
            return
        data = json_bytes(self.lake.as_json())
        self._due_bytes = max(len(data), _SNAPSHOT_BYTES)
        if self._records >= _SNAPSHOT_RECORDS or self._bytes >= self._due_bytes:
            self.write_snapshot(data)

    def write_snapshot(self, data: bytes | None = None) -> None:
        """Write a snapshot, and delete those before the last ones."""
        name = f"{SNAPSHOTS}/{self.lake.number:08d}.json"
        if not self._store.exists(name):
            with suppress(AlreadyExists):  # The writer of another shard wrote the same.
                self._store.create(name, data or json_bytes(self.lake.as_json()))
        names = _numbered(self._store, SNAPSHOTS)
        self._store.delete(*(f"{SNAPSHOTS}/{one}" for one in names[:-_KEPT_SNAPSHOTS]))
        self._records, self._bytes = 0, 0

    def delete_old_records(self) -> int:
        """Write a snapshot, and delete the records that it makes superfluous; return how many."""
        old = old_records(self._store, self.lake)
        if old:
            self.write_snapshot()
            self._store.delete(*old)
        return len(old)

    def _is_in_log(self, record: Mapping[str, Any], data: bytes) -> bool:
        """Return whether a new record is what the next one, or a snapshot, comes after."""
        number = record["number"]
        # Without shards, the claim of the next writer refuses it: claims are not deleted.
        has_shards = any(run.shards.of for run in self.lake.runs.values())
        is_safe = record["kind"] != CLAIM and not has_shards
        newest = max(numbers_in(self._store, SNAPSHOTS), default=0)
        if is_safe or newest < number:
            return True
        snapshot, digest = read_snapshot(self._store, newest), hashlib.sha256(data).hexdigest()
        if snapshot.number == number:
            return snapshot.last_sha256 == digest
        with suppress(NotFound):
            name = record_name(number + 1)
            return bool(parsed(self._store.read(name), name)["previous_sha256"] == digest)
        return False

    def _epoch_in(self, lake: LakeState) -> int:
        """Return the epoch of the writer whose place this one has; -1 if that place is gone."""
        if self._shard is None:
            return lake.epoch
        run_id, shard = self._shard
        run = lake.runs.get(run_id)
        return run.shards.epoch(shard) if run and not run.is_complete else -1

    def _catch_up(self) -> set[str | None]:
        """Take the records that others have appended; return the runs whose shards they are of.

        Raises Fenced if one of them has taken over.
        """
        before = self.lake.number
        try:
            of_runs = _fold_records(self._store, self.lake)
        except (IntegrityError, StoreError):
            self.check_epoch()
            raise
        if self._epoch_in(self.lake) != self._epoch or self.lake.number == before:
            raise self._fenced()
        return of_runs

    def _fenced(self) -> Fenced:
        lake, where = self.lake, self._store.where()
        with suppress(StoreError, IntegrityError):
            lake = load_lake(self._store)
        return shard_lost(where, lake, *self._shard) if self._shard else lake_lost(where, lake)


def load_lake(store: Store) -> LakeState:
    """Return a lake as its log describes it, an empty one if it has none.

    A writer may write meanwhile: an error counts if the log gives it twice in a row.
    """
    before = ""
    while True:
        try:
            return _load_lake(store)
        except (IntegrityError, StoreError) as error:
            if str(error) == before:
                if isinstance(error, StoreError):
                    raise
                raise IntegrityError(
                    f"the log of {store.where()} is damaged: {error}",
                    advice="restore the file, for example from a backup, or choose another {dest}",
                ) from error
            before = str(error)


def load_runs(store: Store) -> list[RunState]:
    """Return the lake's runs in full, oldest first; without its accounts one that has expired."""
    return runs_in_full(store, load_lake(store))


def runs_in_full(store: Store, lake: LakeState) -> list[RunState]:
    """Return the runs of a lake in full, oldest first.

    One may have expired since the lake was loaded, and its records may be gone.
    """
    runs = []
    for run in lake.oldest_first:
        try:
            runs.append(in_full(store, run))
        except IntegrityError:
            now = load_lake(store).runs.get(run.id)
            if now is None or not now.is_expired:
                raise
            runs.append(now)
    return runs


def in_full(store: Store, run: RunState) -> RunState:
    """Return a run with what is known of its single accounts, which it may have shed.

    The records of a run that has expired may be gone: it is returned without its accounts.
    """
    if not run.is_finished or run.is_expired:
        return run
    records = records_of(store, run)
    try:
        found = RunState.of(next(records))
        for record in records:
            if record["kind"] == CLAIM:
                found.claim_shard(record["shard"], record["number"])
            elif record["kind"] in (COMMIT, COMPLETE):
                found.fold(record)
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"run {run.id}: its records are not valid: {error!r}") from error
    found.is_finished, found.is_replaced = run.is_finished, run.is_replaced
    if run.elsewhere:
        found.files, found.elsewhere = run.files, run.elsewhere
    found.completed_unreported = run.completed_unreported
    return found


def old_records(store: Store, lake: LakeState, expiring: Collection[str] = ()) -> list[str]:
    """Return the names of the records that a snapshot of the lake makes superfluous.

    ``expiring`` are runs that have not expired yet, and will.
    """
    # A run that has not ended needs all that follow: its records are read as a range.
    kept = [
        range(run.first_record, (run.last_record if run.is_finished else lake.number) + 1)
        for run in lake.runs.values()
        if not run.is_expired and run.id not in expiring
    ]
    needed = {number for one in kept for number in one}
    maybe = [one for one in numbers_in(store, RECORDS) if one <= lake.number and one not in needed]
    found = zip(maybe, each_record(store, maybe), strict=True)
    return [record_name(number) for number, record in found if record["kind"] != CLAIM]


def each_record(store: Store, numbers: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Yield the records of these numbers, in order; IntegrityError if one is missing or altered."""
    places = [*numbers]
    names = [record_name(number) for number in places]
    contents = store.read_each(names)
    for name in names:
        try:
            data = next(contents)
        except NotFound as error:
            raise IntegrityError(f"{name} is missing, and later records depend on it") from error
        yield parsed(data, name)


def _load_lake(store: Store) -> LakeState:
    if old := _old_runs(store):
        check_version({"version": f"of run {old[0]}"})
    lake = _newest_snapshot(store)
    _fold_records(store, lake)
    return lake


def _fold_records(store: Store, lake: LakeState) -> set[str | None]:
    """Take the records that follow; return the runs whose shards they are of."""
    of_runs = set[str | None]()
    names = _numbered(store, RECORDS, after=f"{lake.number:08d}.json")
    contents = store.read_each(f"{RECORDS}/{name}" for name in names)
    for name, data in zip(names, contents, strict=True):
        where = f"{RECORDS}/{name}"
        record = parsed(data, where)
        expected = lake.number + 1
        if name != f"{expected:08d}.json":
            raise IntegrityError(f"{where}: expected record {expected}, which is missing")
        try:
            lake.fold(record, data)
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"{where}: not a valid record: {error}") from error
        if record.get("shard"):
            of_runs.add(record["run"])
    return of_runs


def _newest_snapshot(store: Store) -> LakeState:
    """Return the newest snapshot that is whole: the records say all that a damaged one did."""
    damaged: IntegrityError | None = None
    for number in reversed(numbers_in(store, SNAPSHOTS)):
        try:
            return read_snapshot(store, number)
        except IntegrityError as error:
            damaged = damaged or error
    if damaged:
        raise damaged
    return LakeState()


def read_snapshot(store: Store, number: int) -> LakeState:
    """Return what the records up to this number add up to; IntegrityError for a damaged file."""
    where = f"{SNAPSHOTS}/{number:08d}.json"
    body = parsed(store.read(where), where)
    try:
        return LakeState.from_json(body)
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{where}: not a snapshot: {error!r}") from error


def records_of(store: Store, run: RunState) -> Iterator[dict[str, Any]]:
    """Yield the records of a run, in order."""
    numbers = range(run.first_record, run.last_record + 1)
    return (one for one in each_record(store, numbers) if one.get("run") == run.id)


def numbers_in(store: Store, directory: str) -> list[int]:
    """Return the numbers of a directory's records or snapshots, in order."""
    return [int(name.partition(".")[0]) for name in _numbered(store, directory)]


def _numbered(store: Store, directory: str, *, after: str = "") -> list[str]:
    return [name for name in store.names(directory, after=after) if _NUMBERED.fullmatch(name)]


def _old_runs(store: Store) -> list[str]:
    """Return the directories that versions before this log had, one a run."""
    return [name for name in store.names(LOG_DIRECTORY) if _OLD_RUN.fullmatch(name)]


def record_name(number: int) -> str:
    """Return where a record is in the lake."""
    return f"{RECORDS}/{number:08d}.json"
