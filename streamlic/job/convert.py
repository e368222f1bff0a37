"""A conversion: the job whose one page is a body in a file or a pipe."""

from __future__ import annotations

import asyncio
import os
import secrets
import select
import stat
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, BinaryIO

from streamlic.decoder import Envelope
from streamlic.decoder.messages.error_codes import ErrorCode
from streamlic.errors import ApiError, DecodeError, ReportedFailure, StoreError
from streamlic.job.job import Job, run_job
from streamlic.job.options import JobOptions
from streamlic.job.page_checks import check_count
from streamlic.job.progress import AccountEnded, OnProgress, SourceStatus
from streamlic.job.source import RunRequest, Source
from streamlic.job.summary import Summary
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
    """Convert one body, read from ``source``, to ``dest``; ``name`` identifies it.

    ``key_by`` is the field that takes the keys of rows given as an object. Raises an ApiError if
    the body reports one.
    """
    options = options or JobOptions()
    options.open_decoder(key_by=key_by)  # Wrong options are found before anything is written.
    identity = {"source": name, **_identity_of(source), **options.identity()}
    if key_by is not None:
        identity["key_by"] = key_by
    request = RunRequest(identity=identity, accounts=[account])
    body = BodySource(source, name, account, key_by=key_by)
    return await run_job(options.open_store(dest), request, body, options, on_progress)


class BodySource(Source):
    """One page: a body in a file or a pipe."""

    has_one_page = True

    def __init__(
        self, file: BinaryIO, name: str, account: str | None, *, key_by: str | None = None
    ) -> None:
        self._file = file
        self._name = name
        self._account = account
        self._key_by = key_by
        self._size = _size_of(file)
        self._received = 0
        self._is_done = False

    def status(self) -> SourceStatus:
        """Return what is cheap to know of its progress, as of now."""
        return SourceStatus(
            accounts_done=int(self._is_done),
            pages_under_way=int(not self._is_done),
            bytes_received=self._received,
            bytes_in_all=self._size,
        )

    async def read_pages(self, job: Job) -> None:
        """Read the body, if the run does not have it."""
        job.progress.notify()
        if not job.run.point(self._account).is_done:
            open_decoder = partial(job.options.open_decoder, key_by=self._key_by)
            chunks = self._chunks(job)
            try:
                await job.read_page(self._account, open_decoder, chunks, _is_all)
            except ReportedFailure as failure:
                raise self._error_of(failure) from failure
            except DecodeError as error:
                error.advice = error.advice or _advice_on_lines(error)
                raise
        self._is_done = True
        job.progress.record(AccountEnded(self._account))

    async def _chunks(self, job: Job) -> AsyncGenerator[bytes, None]:
        async with aclosing(_chunks_of(self._file, self._name)) as chunks:
            async for chunk in chunks:
                self._received += len(chunk)
                job.progress.notify()
                yield chunk

    def _error_of(self, failure: ReportedFailure) -> ApiError:
        account = self._account or ""
        return reported_failure(failure, {}, account=account, token="", now=datetime.now(UTC))


def _advice_on_lines(error: DecodeError) -> str:
    """Return what helps if a body was read as the wrong kind of JSON. An API says its kind."""
    if error.parameter == "rows_at":
        return "{ndjson=True} reads newline-delimited records"
    is_array = error.reason == ErrorCode.ARRAY_OF_LINES.text()
    return "{ndjson=False} reads an array" if is_array else ""


def _size_of(source: BinaryIO) -> int | None:
    """Return a file's size, None for a pipe."""
    status = _status_of(source)
    return status.st_size if status else None


def _identity_of(source: BinaryIO) -> dict[str, Any]:
    """Return what distinguishes files of the same name. Every pipe is a new body."""
    status = _status_of(source)
    if status is None:
        return {"source_id": secrets.token_hex(8)}
    return {"source_bytes": status.st_size, "source_modified_ns": status.st_mtime_ns}


def _status_of(source: BinaryIO) -> os.stat_result | None:
    try:
        status = os.fstat(source.fileno())
    except OSError:  # The source has no file descriptor.
        return None
    return status if stat.S_ISREG(status.st_mode) else None


async def _chunks_of(source: BinaryIO, name: str) -> AsyncGenerator[bytes, None]:
    """Read ahead in a daemon thread: reading a terminal or a pipe may block for ever."""
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[bytes | BaseException] = asyncio.Queue()
    room = threading.Semaphore(_CHUNKS_AHEAD)
    is_over = threading.Event()

    def deliver(chunk: bytes | BaseException) -> None:
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
                deliver(chunk)
        except BaseException as error:  # noqa: BLE001  # the coroutine raises it
            deliver(error)

    threading.Thread(target=read, name="streamlic-read", daemon=True).start()
    try:
        while chunk := await arrived.get():
            if isinstance(chunk, OSError):
                raise StoreError(f"reading {name} failed: {chunk.strerror}") from chunk
            if isinstance(chunk, BaseException):
                raise chunk
            room.release()
            yield chunk
    finally:
        is_over.set()
        room.release()


def _next(source: BinaryIO) -> bytes:
    """Return the next bytes, none at the end. Wait where the source does not block."""
    read: Callable[[int], bytes | None] = source.read
    while (chunk := read(_READ_BYTES)) is None:
        select.select([source], [], [])
    return chunk


def _is_all(envelope: Envelope) -> None:
    """Treat the body as the only page: there is no API to request a next page from."""
    check_count(envelope)
    if envelope.next_cursor:
        envelope.is_partial_response = True
        envelope.next_cursor = None
