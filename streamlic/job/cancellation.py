"""Cancelling a job from outside."""

from __future__ import annotations

from typing import Protocol

from streamlic.errors import StreamlicError
from streamlic.formatting import counted
from streamlic.job.summary import Summary

HOW_TO_RESUME = "committed pages are kept; the same call resumes the run"


class Cancel(Protocol):
    """What cancels a job: a ``threading.Event``, or anything else with its ``is_set``."""

    def is_set(self) -> bool:
        """Return whether the job should stop."""


class Cancelled(StreamlicError):
    """The job was cancelled. Whole pages are committed; ``summary`` counts them.

    The same call resumes the run.
    """

    def __init__(self, summary: Summary) -> None:
        self.summary = summary
        done = sum(one.complete for one in summary.accounts)
        super().__init__(
            f"cancelled after {counted(summary.rows, 'row')} of {counted(summary.pages, 'page')}, "
            f"with {done:,} of {counted(len(summary.accounts), 'account')} done; {HOW_TO_RESUME}"
        )
