"""Whether a store holds a lake, or files of others, and its one writer at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from streamlic.dataset.lake import LOG_DIRECTORY, RECORDS, SNAPSHOTS
from streamlic.dataset.lake_state import COMMIT, EXPIRE, REMOVE, REWRITE, LakeState
from streamlic.dataset.run_state import RunState
from streamlic.errors import RETRY_CAN_HELP, DatasetConflict, StreamlicError
from streamlic.storage.base import Store

_LOCK = f"{LOG_DIRECTORY}/lock"
_SHARD_LOCKS = f"{LOG_DIRECTORY}/shards"


class Fenced(DatasetConflict):
    """Another process is the writer now, or has changed what a record is about.

    A retry can help: it starts from what that process wrote.
    """

    exit_code = RETRY_CAN_HELP


def lake_lost(where: str, lake: LakeState) -> Fenced:
    """Return the error of a writer of the lake. ``lake`` is as it is now."""
    with_writer = f" ({lake.writer})" if lake.writer else ""
    return Fenced(
        f"another writer has taken over {where}{with_writer}, and this one has ended: what it "
        "committed is kept",
        advice="wait for it, or choose another {dest}",
    )


def shard_lost(where: str, lake: LakeState, run_id: str, shard: int) -> Fenced:
    """Return the error of a writer of a shard. ``lake`` is as it is now."""
    run = lake.runs.get(run_id)
    if run is None:
        return Fenced(
            f"run {run_id} was removed from {where} while shard {shard} of it was read",
            advice="give each run a key of its own with {run_key}",
        )
    if run.is_complete:
        return Fenced(f"run {run_id} in {where} was completed by another process")
    return Fenced(
        f"another process has taken over shard {shard} of run {run_id} in {where}, and this one "
        "has ended: what it committed is kept",
        advice="give each process a {shard} of its own",
    )


def run_changed(where: str, run_id: str) -> Fenced:
    """Return the error of a writer that decided about a run without what its shards wrote since."""
    return Fenced(f"run {run_id} in {where} is read by other processes", advice="wait for them")


def why_no_dataset(store: Store) -> str | None:
    """Say why there is nothing to read: an empty store, or one without a commit log."""
    if store.names(LOG_DIRECTORY):
        return None
    if store.names():
        return f"{store.where()} is not a streamlic lake: it has no commit log"
    return f"there is no lake in {store.where()}: it is empty or does not exist"


def refuse_foreign(store: Store) -> None:
    """Raise DatasetConflict for a store that holds other files and no commit log."""
    others = store.names()
    if others and LOG_DIRECTORY not in others:
        raise DatasetConflict(
            f"{store.where()} is not a streamlic lake and holds other files, such as {others[0]!r}",
            advice="choose an empty or new {dest}",
        )


@contextmanager
def writer_lock(store: Store, shard: int = 0) -> Iterator[None]:
    """Be the only writer of a dataset; DatasetConflict for another writer, or files of others.

    With ``shard``, be the only writer of this shard of a run that several processes read.
    """
    refuse_foreign(store)
    with store.lock(f"{_SHARD_LOCKS}/{shard}" if shard else _LOCK):
        yield


@asynccontextmanager
async def awaited_writer_lock(store: Store, shard: int = 0) -> AsyncIterator[None]:
    """Be the only writer, as ``writer_lock``; a task that waits for the lock can be cancelled.

    A thread waits: a lease of a writer that died takes half a minute to end.
    """
    lock = writer_lock(store, shard)
    entering = asyncio.ensure_future(asyncio.to_thread(lock.__enter__))
    try:
        await asyncio.shield(entering)
    except asyncio.CancelledError:
        store.give_up()
        with suppress(StreamlicError):
            await entering
            lock.__exit__(None, None, None)
        raise
    try:
        yield
    finally:
        lock.__exit__(None, None, None)


def active_writer(store: Store) -> str:
    """Describe the writer of a dataset, or a process that may be one; empty if there is none."""
    return lock_holder(store) or active_shard(store)


def lock_holder(store: Store) -> str:
    """Describe who keeps others from writing, or may; empty if nobody does."""
    return store.writer(_LOCK)


def active_shard(store: Store) -> str:
    """Describe the writer of a shard, or a process that may be one; empty if there is none."""
    return next((f"shard {shard}: {writer}" for shard, writer in _writers_of_shards(store)), "")


def active_shards(store: Store) -> list[int]:
    """Return the numbers of the shards that processes read now, or may read."""
    return sorted(shard for shard, _ in _writers_of_shards(store))


def _writers_of_shards(store: Store) -> Iterator[tuple[int, str]]:
    for name in store.names(_SHARD_LOCKS):
        if name.isdecimal() and (writer := store.writer(f"{_SHARD_LOCKS}/{name}")):
            yield int(name), writer


def pending_step(store: Store, lake: LakeState) -> str | None:
    """Say what is left to do for the last record of the log; None if it is nothing."""
    record = lake.pending
    if record is None:
        return None
    if record["kind"] == REMOVE:
        return f"run {record['runs'][0]} is half removed"
    if record["kind"] in (REWRITE, EXPIRE):
        return "the maintenance of the tables was interrupted, and readers may see rows twice"
    run = lake.runs[record["run"]]
    is_hidden = _is_hidden(store, run)
    if record["kind"] == COMMIT and not is_hidden:
        return None
    hidden = ", and readers do not see all of its rows" if is_hidden else ""
    return f"run {run.id} was interrupted while it was published{hidden}"


def _is_hidden(store: Store, run: RunState) -> bool:
    """Return whether a part file that readers must see is still in staging."""
    if run.is_in_place or not run.is_published:
        return False
    hidden = [file for file in run.live_files if not store.exists(file.name)]
    return any(store.exists(run.staged(file.name)) for file in hidden)


def delete_partial_files(store: Store) -> None:
    """Delete what a process left that died while it created a file of the log."""
    for place in (RECORDS, SNAPSHOTS):
        partial = [name for name in store.names(place) if name.startswith(".")]
        store.delete(*(f"{place}/{name}" for name in partial))
