"""What a person sees of a job: plain lines on standard error, and a summary at the end."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TextIO

from streamlic.summary import Progress, Summary

_LINE_SECONDS = 2.0
_SHOWN_FAILURES = 10


class ProgressLines:
    """Writes a line every two seconds and for each retry; with ``is_verbose`` for each page."""

    def __init__(self, *, is_verbose: bool = False, stream: TextIO | None = None) -> None:
        self._is_verbose = is_verbose
        self._stream = stream or sys.stderr
        self._written_at = time.monotonic()
        self._pages = 0

    def __call__(self, progress: Progress) -> None:
        """Take the state of a job; write a line if it is time for one."""
        if progress.retry:
            retry, progress.retry = progress.retry, None
            self._write(f"attempt {retry.attempt} failed: {retry.error}")
            self._write(f"trying again in {retry.wait_seconds:.1f} s")
        now = time.monotonic()
        is_new_page = self._is_verbose and progress.pages > self._pages
        if is_new_page or now - self._written_at >= _LINE_SECONDS:
            self._pages = progress.pages
            self._written_at = now
            seconds = max(now - progress.started, 0.001)
            mega_bytes = progress.bytes_received / 1e6
            resumed = f" after {progress.resumed_rows:,}" if progress.resumed_rows else ""
            self._write(
                f"{progress.rows:,} rows{resumed}, {progress.pages:,} pages, {mega_bytes:,.1f} MB "
                f"({mega_bytes / seconds:,.1f} MB/s), {progress.parts} part files"
                + (f", account {progress.account}" if progress.account else "")
            )

    def _write(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


def summary_text(summary: Summary, dest: str) -> str:
    """Say in a few lines what a job came to, and what to do next."""
    state = "complete" if summary.complete else "unfinished"
    resumed = ", gone on with after an interruption" if summary.resumed else ""
    lines = [
        f"run {summary.run}: {state}{resumed}",
        (
            f"{summary.rows:,} rows of {len(summary.accounts)} account(s) from {summary.pages:,} "
            f"page(s) in {summary.parts} part file(s), engine {summary.engine}"
        ),
        (
            f"{summary.bytes_received / 1e6:,.1f} MB received, "
            f"{summary.bytes_written / 1e6:,.1f} MB written in {summary.seconds:,.1f} s, "
            f"{summary.retries} retries"
        ),
    ]
    if summary.rescued:
        lines.append(
            f"{summary.rescued:,} values did not fit their columns and are kept in _rescued"
        )
    if summary.partial_response:
        lines.append("the API said that its answer was partial: some licenses may be missing")
    failed = [one for one in summary.accounts if one.error]
    for one in failed[:_SHOWN_FAILURES]:
        retry = "a retry may help" if one.error and one.error.retryable else "no retry can help"
        lines.append(f"failed: {one.account} ({retry}): {one.error and one.error.message}")
    if len(failed) > _SHOWN_FAILURES:
        lines.append(f"and {len(failed) - _SHOWN_FAILURES:,} more failed: --json lists them all")
    lines.append(f"read it: {Path(dest) / '*.parquet'}   check it: streamlic verify {dest}")
    return "\n".join(lines)
