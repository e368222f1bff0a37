"""Where a job stands, and what it came to."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from streamlic.client import Retry


@dataclass(frozen=True, kw_only=True)
class AccountSummary:
    """What is committed of one account."""

    account: str | None
    rows: int
    rescued: int
    pages: int
    partial_response: bool
    complete: bool


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a job came to. Counts of rows, rescues, pages and parts are the whole run's.

    ``bytes_received``, ``bytes_written``, ``seconds`` and ``retries`` are this process's own.
    """

    run: str
    complete: bool
    resumed: bool
    rows: int
    rescued: int
    pages: int
    parts: int
    bytes_received: int
    bytes_written: int
    seconds: float
    engine: str
    partial_response: bool
    retries: int
    accounts: list[AccountSummary]


@dataclass
class Progress:
    """Where a job stands, for who watches it."""

    account: str | None = None
    rows: int = 0
    pages: int = 0
    bytes_received: int = 0
    parts: int = 0
    rescued: int = 0
    retry: Retry | None = None
    resumed_rows: int = 0
    started: float = field(default_factory=time.monotonic)


OnProgress = Callable[[Progress], None]
