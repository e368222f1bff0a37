"""A body that is at hand, in a file or a pipe: the same job without a network."""

from __future__ import annotations

import asyncio
import os
import secrets
import select
import stat
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, BinaryIO

from streamlic.dataset.destination import writer_lock
from streamlic.decoder import Envelope
from streamlic.errors import ReportedFailure, StoreError
from streamlic.job.job import Job
from streamlic.job.options import JobOptions
from streamlic.job.page_checks import check_count
from streamlic.job.summary import OnProgress, Summary
from streamlic.storage.local import LocalStore
from streamlic.tables.parquet import ParquetTable
from streamlic.tables.runs import open_run
from streamlic.truto.api_errors import reported_failure

_READ_BYTES = 256 * 1024
_CHUNKS_AHEAD = 4


async def convert_async(
    source: BinaryIO,
    dest: str,
    *,
    account: str | None = None,
    name: str = "-",
    key_by: str | None = None,
    options: JobOptions | None = None,
    on_progress: OnProgress | None = None,
) -> Summary:
    """Land one body that is at hand, read from ``source``, in ``dest``; ``name`` identifies it.

    ``key_by`` is the field by which its rows are keyed, where they are an object. Raises the
    ApiError that the body reports, if it does.
    """
    options = options or JobOptions()
    keyed = {} if key_by is None else {"key_by": key_by}
    open_decoder = partial(options.open_decoder, key_by=key_by)
    open_decoder()  # What is wrong with the options is found before anything is written.
    table = ParquetTable(LocalStore(dest))
    started = time.monotonic()
    received = 0

    async def chunks() -> AsyncGenerator[bytes, None]:
        nonlocal received
        async with aclosing(_chunks_of(source, name)) as all_chunks:
            async for chunk in all_chunks:
                received += len(chunk)
                job.progress.bytes_received = received
                job.told()
                yield chunk

    with writer_lock(table.store):
        run = open_run(
            table,
            request={"source": name, **_identity_of(source), **options.identity(), **keyed},
            accounts=[account],
            mode=options.mode,
            restart=options.restart,
            carries_over=options.carries_over,
            settings=options.settings(),
        )
        job = Job(table, run, options, on_progress, is_one_page=True)
        job.told(pages_under_way=1, bytes_in_all=_size_of(source))
        try:
            if not job.run.point(account).is_done:
                await job.read_page(account, open_decoder, chunks(), _is_all)
            await job.complete()
        except ReportedFailure as failure:
            raise reported_failure(
                failure, {}, account=account or "", token="", now=datetime.now(UTC)
            ) from failure
        finally:
            job.close(keeps_pages=False)
    return job.summary(started=started, retries=0, bytes_received=received)


def _size_of(source: BinaryIO) -> int | None:
    """Return a file's size; a pipe has none."""
    status = _status_of(source)
    return status.st_size if status else None


def _identity_of(source: BinaryIO) -> dict[str, Any]:
    """Return what tells a file from another of its name; what comes from a pipe is always new."""
    status = _status_of(source)
    if status is None:
        return {"source_id": secrets.token_hex(8)}
    return {"source_bytes": status.st_size, "source_modified_ns": status.st_mtime_ns}


def _status_of(source: BinaryIO) -> os.stat_result | None:
    try:
        status = os.fstat(source.fileno())
    except OSError:  # It is no file of the system's.
        return None
    return status if stat.S_ISREG(status.st_mode) else None


async def _chunks_of(source: BinaryIO, name: str) -> AsyncGenerator[bytes, None]:
    """Read ahead in a thread that nobody waits for: a terminal or a pipe may be silent for ever."""
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[bytes | BaseException] = asyncio.Queue()
    room = threading.Semaphore(_CHUNKS_AHEAD)
    is_over = threading.Event()

    def tell(chunk: bytes | BaseException) -> None:
        with suppress(RuntimeError):  # The loop has ended.
            loop.call_soon_threadsafe(arrived.put_nowait, chunk)

    def read() -> None:
        chunk = b"-"
        try:
            while chunk:
                room.acquire()
                if is_over.is_set():
                    return
                chunk = _next(source)
                tell(chunk)
        except BaseException as error:  # noqa: BLE001  # it is raised again where it is awaited
            tell(error)

    threading.Thread(target=read, name="streamlic-read", daemon=True).start()
    try:
        while chunk := await arrived.get():
            if isinstance(chunk, OSError):
                raise StoreError(f"{name} cannot be read on: {chunk.strerror}") from chunk
            if isinstance(chunk, BaseException):
                raise chunk
            room.release()
            yield chunk
    finally:
        is_over.set()
        room.release()


def _next(source: BinaryIO) -> bytes:
    """Return what comes next, nothing at the end; wait for it where the source would not."""
    read: Callable[[int], bytes | None] = source.read
    while (chunk := read(_READ_BYTES)) is None:
        select.select([source], [], [])
    return chunk


def _is_all(envelope: Envelope) -> None:
    """Take a body at hand for all there is: where it names a next page, nobody can be asked."""
    check_count(envelope)
    if envelope.next_cursor:
        envelope.is_partial_response = True
        envelope.next_cursor = None
