"""The progress of a job in a log: lines of text, or of JSON, on standard error."""

from __future__ import annotations

import time
from typing import Any

from streamlic.formatting import bytes_text, counted, duration_text, option_of
from streamlic.job.progress import PageDone, Progress
from streamlic.system.process_memory import resident_bytes
from streamlic.terminal.log import Log
from streamlic.terminal.wait_text import wait_text
from streamlic.truto.retry import Retry
from streamlic.truto.wait_reasons import WaitStatus

_EVERY_SECONDS = 10.0
_LONG_WAIT_SECONDS = 2.0
_SAME_SECONDS = 0.5


class ProgressLines:
    """Writes a line every ten seconds, and one for a long wait while no page is under way.

    As text, a retry has a line of its own where there is one account, or with ``is_verbose``, which
    also gives every page a line. As JSON, every retry has a line.
    """

    def __init__(self, log: Log, *, is_verbose: bool = False) -> None:
        self._log = log
        self._is_verbose = is_verbose
        self._written_at: float | None = None
        self._waits_until = 0.0

    def __call__(self, progress: Progress) -> None:
        """Take a snapshot of a job; write what is due."""
        now = time.monotonic()
        if self._written_at is None:
            self._written_at = now
            self._log.run = progress.run
            self._log.event("start", accounts=progress.accounts,
                            accounts_done=progress.accounts_done,
                            resumed_rows=progress.resumed_rows)  # fmt: skip
        for event in progress.events:
            if isinstance(event, Retry):
                self._write_retry(event, progress)
        if progress.pages_under_way == 0:
            self._write_wait(progress, now)
        has_new_page = any(isinstance(event, PageDone) for event in progress.events)
        is_due = now - self._written_at >= _EVERY_SECONDS
        if is_due or (self._is_verbose and has_new_page):
            self._written_at = now
            text = "\n".join(state_lines(progress, now))
            self._log.event("progress", text, **_fields(progress, now))

    def _write_retry(self, retry: Retry, progress: Progress) -> None:
        has_text = progress.accounts == 1 or self._is_verbose
        of_account = f" of account {retry.account}" if progress.accounts > 1 else ""
        self._log.event(
            "retry",
            f"attempt {retry.attempt}{of_account} failed: {retry.error.described(option_of)}\n"
            f"trying again in {retry.wait_seconds:.1f} s"
            if has_text
            else None,
            account=retry.account,
            attempt=retry.attempt,
            kind=type(retry.error).__name__,
            message=retry.error.described(option_of),
            wait_seconds=round(retry.wait_seconds, 3),
        )
        if has_text:  # It names the wait that follows.
            self._waits_until = time.monotonic() + retry.wait_seconds

    def _write_wait(self, progress: Progress, now: float) -> None:
        if progress.waits and progress.waits[0].seconds(now) >= _LONG_WAIT_SECONDS:
            wait = progress.waits[0]
            if abs(wait.until - self._waits_until) > _SAME_SECONDS:
                self._waits_until = wait.until
                text = wait_text(wait, now, accounts=progress.accounts)
                self._log.event("wait", text, **_wait_fields(wait, now))


def state_lines(progress: Progress, now: float) -> list[str]:
    """Return the state of a job: one line, or two where there are many accounts."""
    seconds = max(now - progress.started, 0.001)
    resumed = f" after {progress.resumed_rows:,}" if progress.resumed_rows else ""
    amounts = (
        f"{progress.rows:,} rows{resumed}, {counted(progress.pages, 'page')}, "
        f"{bytes_text(progress.bytes_received)} ({progress.bytes_received / seconds / 1e6:,.1f} "
        f"MB/s), {counted(progress.parts, 'part file')}, "
        f"{counted(progress.retries, 'retry', 'retries')}"
    )
    if progress.carried_rows:
        amounts += f", {counted(progress.carried_rows, 'row')} carried over"
    memory = resident_bytes()
    if memory:
        amounts += f", {memory >> 20:,} MiB of memory"
    waits = "; ".join(wait_text(wait, now, accounts=progress.accounts) for wait in progress.waits)
    if waits:
        amounts += f"; {waits}"
    if progress.accounts == 1:
        return [amounts + (f"; account {progress.account}" if progress.account else "")]
    slowest = "; ".join(
        f"{one.account} {counted(one.pages, 'page')} in {duration_text(one.seconds)}"
        for one in progress.slowest
    )
    return [
        (
            f"{progress.accounts_done:,} of {counted(progress.accounts, 'account')} done, "
            f"{progress.accounts_failed:,} failed, {progress.pages / seconds:,.1f} pages/s: "
            f"{amounts}"
        ),
        f"  longest under way: {slowest or 'none'}",
    ]


def _fields(progress: Progress, now: float) -> dict[str, Any]:
    seconds = max(now - progress.started, 0.001)
    names = ("account", "accounts", "accounts_done", "accounts_failed", "rows", "resumed_rows",
             "carried_rows", "rescued", "pages", "pages_under_way", "bytes_received",
             "bytes_in_all", "parts", "retries")  # fmt: skip
    return {
        **{name: getattr(progress, name) for name in names},
        "seconds": round(seconds, 3),
        "bytes_per_second": round(progress.bytes_received / seconds),
        "memory_bytes": resident_bytes(),
        "waits": [_wait_fields(wait, now) for wait in progress.waits],
        "slowest": [
            {"account": one.account, "pages": one.pages, "seconds": round(one.seconds, 3)}
            for one in progress.slowest
        ],
    }


def _wait_fields(wait: WaitStatus, now: float) -> dict[str, Any]:
    return {
        "reason": wait.cause.reason.value,
        "detail": wait.cause.detail,
        "seconds": round(wait.seconds(now), 3),
        "accounts": wait.accounts,
        "account": wait.account,
    }
