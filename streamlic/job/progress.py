"""How far a job is: frozen snapshots, each with the events since the snapshot before it.

Rules:
1. A snapshot never changes. The terminal, log lines and Python's ``on_progress`` all read the same.
2. Every event is in one snapshot, in the order in which they happened. Only commits that follow the
   last snapshot, while a run that failed or was cancelled is closed, are in none.
3. A snapshot is taken at every page, retry and end of an account, and about once a second. What is
   expensive to find out for ten thousand accounts is found out five times a second at most.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from streamlic.decoder import Envelope
from streamlic.errors import StreamlicError
from streamlic.truto.retry import Retry
from streamlic.truto.wait_reasons import WaitStatus

_FRESH_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class PageDone:
    """A page was decoded and checked. Its rows are on their way to a commit."""

    account: str | None
    rows: int


@dataclass(frozen=True, slots=True)
class AccountEnded:
    """An account has no further page, or failed with ``error``."""

    account: str | None
    error: StreamlicError | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """A commit is durable. The run now has ``rows`` rows in ``parts`` part files."""

    rows: int
    parts: int


Event = Retry | PageDone | AccountEnded | Committed


@dataclass(frozen=True, slots=True)
class ActiveAccount:
    """An account that was started and has not ended."""

    account: str
    pages: int
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a job is at one moment. ``at`` and ``started`` are of ``time.monotonic``."""

    run: str = ""
    """The run's id."""
    account: str | None = None
    """The account of the latest page."""
    accounts: int = 1
    accounts_done: int = 0
    accounts_failed: int = 0
    slowest: tuple[ActiveAccount, ...] = ()
    """The accounts under way that started first."""
    waits: tuple[WaitStatus, ...] = ()
    """What requests wait for, one for each reason."""
    pages_under_way: int = 0
    """Pages that were requested and have not ended."""
    rows: int = 0
    pages: int = 0
    bytes_received: int = 0
    bytes_in_all: int | None = None
    """The total size of the bodies, if it is known: only for local ones."""
    parts: int = 0
    rescued: int = 0
    retries: int = 0
    resumed_rows: int = 0
    """Rows that the run had when it was resumed."""
    carried_rows: int = 0
    """Rows copied so far from the runs that this run replaces."""
    started: float = field(default_factory=time.monotonic)
    at: float = field(default_factory=time.monotonic)
    events: tuple[Event, ...] = ()
    """What happened since the snapshot before this one."""


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceStatus:
    """What a source of pages knows of its own progress."""

    accounts_done: int = 0
    accounts_failed: int = 0
    pages_under_way: int = 0
    bytes_received: int = 0
    bytes_in_all: int | None = None
    retries: int = 0


class Measured(Protocol):
    """What a recorder asks its source for."""

    def status(self) -> SourceStatus:
        """Return what is cheap to know, as of now."""

    def waits(self) -> list[WaitStatus]:
        """Return what requests wait for, one for each reason."""

    def slowest(self) -> list[ActiveAccount]:
        """Return the accounts under way that started first."""


class ProgressRecorder:
    """Counts what happens in one run, and shows snapshots of it to an observer."""

    def __init__(
        self,
        source: Measured,
        observer: OnProgress | None,
        *,
        run: str,
        accounts: int,
        resumed_rows: int,
        parts: int,
    ) -> None:
        self.observer_failed = False
        """Whether the observer raised an error, which says nothing of the pages."""
        self._source = source
        self._observer = observer
        self._run = run
        self._accounts = accounts
        self._resumed_rows = resumed_rows
        self._parts = parts
        self._account: str | None = None
        self._rows = self._pages = self._rescued = 0
        self._carried_rows = 0
        self._started = time.monotonic()
        self._events: deque[Event] = deque()  # The encode thread appends to it, too.
        self._measured_at = float("-inf")
        self._waits: tuple[WaitStatus, ...] = ()
        self._slowest: tuple[ActiveAccount, ...] = ()

    def record(self, event: Event) -> None:
        """Keep an event for the next snapshot. Any thread may call this."""
        if isinstance(event, Committed):
            self._parts = event.parts
        if self._observer and not self.observer_failed:
            self._events.append(event)

    def record_page(self, account: str | None, envelope: Envelope) -> None:
        """Count a page that was decoded and checked."""
        self._account = account
        self._pages += 1
        self._rows += envelope.rows
        self._rescued += envelope.rescued
        self.record(PageDone(account, envelope.rows))

    def record_carried(self, rows: int) -> None:
        """Set how many rows were copied from replaced runs."""
        self._carried_rows = rows

    def notify(self) -> None:
        """Show the observer a snapshot. What it raises is raised here, and it is called no more."""
        if self._observer is None or self.observer_failed:
            return
        try:
            self._observer(self._snapshot())
        except BaseException:
            self.observer_failed = True
            self._events.clear()
            raise

    def _snapshot(self) -> Progress:
        now = time.monotonic()
        status = self._source.status()
        is_idle = status.pages_under_way == 0
        if is_idle or now - self._measured_at >= _FRESH_SECONDS:
            self._measured_at = now
            self._waits = tuple(self._source.waits())
            self._slowest = tuple(self._source.slowest())
        return Progress(
            run=self._run,
            account=self._account,
            accounts=self._accounts,
            accounts_done=status.accounts_done,
            accounts_failed=status.accounts_failed,
            slowest=self._slowest,
            waits=self._waits,
            pages_under_way=status.pages_under_way,
            rows=self._rows,
            pages=self._pages,
            bytes_received=status.bytes_received,
            bytes_in_all=status.bytes_in_all,
            parts=self._parts,
            rescued=self._rescued,
            retries=status.retries,
            resumed_rows=self._resumed_rows,
            carried_rows=self._carried_rows,
            started=self._started,
            at=now,
            events=tuple(self._events.popleft() for _ in range(len(self._events))),
        )
