"""Stopping a job on purpose, from outside of it."""

from __future__ import annotations

from typing import Protocol

from streamlic.errors import StreamlicError
from streamlic.formatting import counted
from streamlic.job.summary import Summary

GOES_ON = "what is committed is kept: call it again with the same arguments to go on"


class Cancel(Protocol):
    """What tells a job to stop: a ``threading.Event``, or whatever is asked as one is."""

    def is_set(self) -> bool:
        """Return whether the job is to stop."""


class Cancelled(StreamlicError):
    """The job was told to stop: whole pages are committed, and ``summary`` tells what they hold.

    The same call again goes on from there.
    """

    def __init__(self, summary: Summary) -> None:
        self.summary = summary
        done = sum(one.complete for one in summary.accounts)
        super().__init__(
            f"cancelled after {counted(summary.rows, 'row')} of {counted(summary.pages, 'page')}, "
            f"with {done:,} of {counted(len(summary.accounts), 'account')} done; {GOES_ON}"
        )
