"""A body that is at hand, in a file or a pipe: the same job without a network."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import BinaryIO

from streamlic.decoder import Envelope
from streamlic.job import Job
from streamlic.job_options import JobOptions
from streamlic.page_checks import check_count
from streamlic.runs import open_run
from streamlic.store import LocalStore
from streamlic.summary import OnProgress, Summary

_READ_BYTES = 256 * 1024


async def convert_async(
    source: BinaryIO,
    dest: str,
    *,
    account: str | None = None,
    name: str = "-",
    options: JobOptions | None = None,
    on_progress: OnProgress | None = None,
) -> Summary:
    """Land one body that is at hand, read from ``source``, in ``dest``; ``name`` identifies it."""
    options = options or JobOptions()
    store = LocalStore(dest)
    started = time.monotonic()
    received = 0

    async def chunks() -> AsyncGenerator[bytes, None]:
        nonlocal received
        while chunk := await _read(source):
            received += len(chunk)
            job.progress.bytes_received = received
            job.told()
            yield chunk

    with store.lock():
        run = open_run(
            store,
            request={"source": name, **options.identity()},
            accounts=[account],
            mode=options.mode,
            restart=options.restart,
        )
        job = Job(run, options, on_progress)
        try:
            if not job.run.point(account).is_done:
                await job.read_page(account, options.open_decoder, chunks(), _is_all)
            await job.complete()
        finally:
            job.close(keeps_pages=False)
    return job.summary(started=started, retries=0, bytes_received=received)


async def _read(source: BinaryIO) -> bytes:
    """Read in a thread that nobody waits for: a terminal or a pipe may stay silent for ever."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()

    def tell(data: bytes, error: BaseException | None) -> None:
        if answer.done():  # It was cancelled.
            return
        if error:
            answer.set_exception(error)
        else:
            answer.set_result(data)

    def read() -> None:
        data, failure = b"", None
        try:
            data = source.read(_READ_BYTES)
        except BaseException as error:  # noqa: BLE001  # it is raised again where it is awaited
            failure = error
        with suppress(RuntimeError):  # The loop has ended.
            loop.call_soon_threadsafe(tell, data, failure)

    threading.Thread(target=read, daemon=True).start()
    return await answer


def _is_all(envelope: Envelope) -> None:
    """Take a body at hand for the whole listing: there is nobody to ask for the next page."""
    check_count(envelope)
    envelope.next_cursor = None
