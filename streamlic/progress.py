"""What a person sees of a job while it runs: plain lines on standard error."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

from streamlic.summary import Progress

_LINE_SECONDS = 2.0
_LOG_SECONDS = 10.0


class ProgressLines:
    """Writes where a job stands, every two seconds on a terminal and every ten in a log.

    On a terminal what was written of many accounts is written over. Each retry has lines of its
    own where there is one account, or with ``is_verbose``, which also gives every page a line.
    """

    def __init__(self, *, is_verbose: bool = False, stream: TextIO | None = None) -> None:
        self._is_verbose = is_verbose
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._written_at = time.monotonic()
        self._pages = 0
        self._lines_above = 0

    def __call__(self, progress: Progress) -> None:
        """Take the state of a job; write about it if it is time to."""
        retry, progress.retry = progress.retry, None
        if retry and (progress.accounts == 1 or self._is_verbose):
            of_account = f" of account {retry.account}" if progress.accounts > 1 else ""
            self._write(
                f"attempt {retry.attempt}{of_account} failed: {retry.error}",
                f"trying again in {retry.wait_seconds:.1f} s",
            )
        now = time.monotonic()
        is_new_page = self._is_verbose and progress.pages > self._pages
        every = _LINE_SECONDS if self._is_terminal else _LOG_SECONDS
        if is_new_page or now - self._written_at >= every:
            self._pages = progress.pages
            self._written_at = now
            lines = _lines(progress, now)
            if self._is_terminal and len(lines) > 1:  # A line that wraps is more than one.
                columns = shutil.get_terminal_size().columns - 1
                lines = [line[:columns] for line in lines]
            self._write(*lines, is_state=True)

    def _write(self, *lines: str, is_state: bool = False) -> None:
        over = f"\x1b[{self._lines_above}F\x1b[J" if self._lines_above else ""
        print(over + "\n".join(lines), file=self._stream, flush=True)
        stays = not (is_state and self._is_terminal and len(lines) > 1)
        self._lines_above = 0 if stays else len(lines)


def _lines(progress: Progress, now: float) -> list[str]:
    seconds = max(now - progress.started, 0.001)
    mega_bytes = progress.bytes_received / 1e6
    resumed = f" after {progress.resumed_rows:,}" if progress.resumed_rows else ""
    came = (
        f"{progress.rows:,} rows{resumed}, {progress.pages:,} pages, {mega_bytes:,.1f} MB "
        f"({mega_bytes / seconds:,.1f} MB/s), {progress.parts} part files"
    )
    if progress.accounts == 1:
        return [came + (f", account {progress.account}" if progress.account else "")]
    slowest = "; ".join(
        f"{one.account} {one.pages:,} pages in {one.seconds:,.0f} s" for one in progress.slowest()
    )
    return [
        (
            f"{progress.accounts_done:,} of {progress.accounts:,} accounts done, "
            f"{progress.accounts_failed:,} failed, {progress.pages / seconds:,.1f} pages/s: {came}"
        ),
        f"  longest under way: {slowest or 'none'}",
    ]
