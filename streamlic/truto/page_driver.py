"""Drives one list by itself: waits until a page is due, and retries a page that failed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from streamlic.errors import StreamlicError
from streamlic.truto.account_pages import AccountPages, Done, R, WaitUntil
from streamlic.truto.client import Connection
from streamlic.truto.retry import Retry


async def next_request(pages: AccountPages[R]) -> R | None:
    """Return the next request when it is due; None after the last."""
    while True:
        now = time.monotonic()
        step = pages.next_request(now)
        if isinstance(step, WaitUntil):
            await asyncio.sleep(step.moment - now)
        else:
            return None if isinstance(step, Done) else step


def retry_later(
    connection: Connection,
    pages: AccountPages[R],
    error: StreamlicError,
    on_retry: Callable[[Retry], None] | None = None,
) -> None:
    """Plan another attempt and report it to ``on_retry``; raise ``error`` if there is none."""
    retry = pages.failed(error, time.monotonic())
    if retry is None:
        raise error
    connection.retries += 1
    if on_retry:
        on_retry(retry)
