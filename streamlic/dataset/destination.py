"""Whether a store holds a lake, or files of others, and its one writer at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from streamlic.dataset.lake import LOG_DIRECTORY
from streamlic.errors import DatasetConflict, StreamlicError
from streamlic.storage.base import Store

_LOCK = f"{LOG_DIRECTORY}/lock"
_SHARD_LOCKS = f"{LOG_DIRECTORY}/shards"


def why_no_dataset(store: Store) -> str | None:
    """Say why there is nothing to read: an empty store, or one without a commit log."""
    if store.names(LOG_DIRECTORY):
        return None
    if store.names():
        return f"{store.where()} is not a streamlic dataset: it has no commit log"
    return f"there is no dataset in {store.where()}: it is empty or does not exist"


def refuse_foreign(store: Store) -> None:
    """Raise DatasetConflict for a store that holds other files and no commit log."""
    others = store.names()
    if others and LOG_DIRECTORY not in others:
        raise DatasetConflict(
            f"{store.where()} is not a streamlic dataset and holds other files, such as "
            f"{others[0]!r}",
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
    return store.writer(_LOCK) or active_shard(store)


def active_shard(store: Store) -> str:
    """Describe the writer of a shard, or a process that may be one; empty if there is none."""
    shards = (name for name in store.names(_SHARD_LOCKS) if name.isdecimal())
    described = ((shard, store.writer(f"{_SHARD_LOCKS}/{shard}")) for shard in shards)
    return next((f"shard {shard}: {writer}" for shard, writer in described if writer), "")
