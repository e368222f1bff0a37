"""When to repeat a write whose connection broke.

obstore repeats what a service refused for a while, and what it may repeat. It does not repeat a
write with a condition, nor a part of an upload to Google, when the connection breaks: it cannot
know whether the write was done. Those who call it can.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from streamlic.storage.credentials import RETRIES, RETRY_TIMEOUT

_FIRST_WAIT_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 15.0


@dataclass(frozen=True)
class Attempt:
    """One of several. An error of the last one is final."""

    is_last: bool


def attempts(
    wait: Callable[[float], object] = time.sleep, *, retries: int = RETRIES
) -> Iterator[Attempt]:
    """Yield attempts, with longer and longer waits between them, for as long as obstore retries."""
    end = time.monotonic() + RETRY_TIMEOUT.total_seconds()
    for number in range(retries + 1):
        is_last = number == retries or time.monotonic() > end
        yield Attempt(is_last)
        if is_last:
            return
        wait(min(_FIRST_WAIT_SECONDS * 2**number, _LONGEST_WAIT_SECONDS))
