"""Reads the wait that a server's headers ask for. Pure. All times are seconds.

Sources: ``Retry-After`` (RFC 9110, 10.2.3), seconds or a date; ``ratelimit-remaining`` and
``ratelimit-reset``, which vendors also send as ``x-ratelimit-...`` and whose reset is seconds or an
epoch. Dates and epochs are compared with the response's own ``Date``, because clocks differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_WAIT_SECONDS = 300.0
"""The longest wait that is accepted from a header."""
_PLAUSIBLE_SECONDS = 86_400.0
_EPOCH_SECONDS = 1e9  # September 2001: every wait is below it, every epoch of today above.
_EPOCH_MILLISECONDS = 1e12


def retry_after_seconds(
    headers: Mapping[str, str], now: datetime, *, is_rate_limit: bool = False
) -> float | None:
    """Return how long the server asks to wait, at most 300 seconds; None if it does not ask.

    Uses ``Retry-After`` if it is valid. Otherwise ``ratelimit-reset``, but only for a rate limit:
    other responses have that header too, and do not ask to wait.
    """
    wait = _retry_after(headers, now)
    if wait is None and is_rate_limit:
        wait = _reset(headers, now)
    return None if wait is None else min(wait, MAX_WAIT_SECONDS)


def has_plausible_wait(headers: Mapping[str, str], now: datetime) -> bool:
    """Return whether ``Retry-After`` asks for at most a day, as for a rate limit."""
    wait = _retry_after(headers, now)
    return wait is not None and wait <= _PLAUSIBLE_SECONDS


def is_used_up(headers: Mapping[str, str]) -> bool:
    """Return whether ``ratelimit-remaining`` is 0."""
    return _limit_header(headers, "remaining").strip() == "0"


def _retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    text = headers.get("retry-after", "").strip()
    seconds = seconds_of(text)
    if seconds is not None:
        return seconds
    moment = _moment(text)
    return None if moment is None else _seconds_until(moment.timestamp(), headers, now)


def _reset(headers: Mapping[str, str], now: datetime) -> float | None:
    reset = seconds_of(_limit_header(headers, "reset"))
    if reset is None or reset <= _EPOCH_SECONDS:
        return reset
    epoch = reset / 1000 if reset > _EPOCH_MILLISECONDS else reset
    return _seconds_until(epoch, headers, now)


def _limit_header(headers: Mapping[str, str], name: str) -> str:
    return headers.get(f"ratelimit-{name}") or headers.get(f"x-ratelimit-{name}", "")


def _seconds_until(epoch: float, headers: Mapping[str, str], now: datetime) -> float:
    sent = _moment(headers.get("date", "")) or now
    return max(epoch - sent.timestamp(), 0.0)


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text.strip())
        moment = moment.replace(tzinfo=moment.tzinfo or UTC)
        moment.timestamp()
    except (ValueError, OverflowError):  # Not a date, or one out of range.
        return None
    return moment


def seconds_of(text: str) -> float | None:
    """Read a number of seconds; None if it is not one."""
    is_number = re.fullmatch(r"[0-9]+(\.[0-9]+)?", text.strip())
    return float(text) if is_number else None
