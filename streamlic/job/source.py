"""What a job reads: the request of its run, and where its pages come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streamlic.dataset.records import AccountDetails
from streamlic.errors import StreamlicError
from streamlic.job.progress import ActiveAccount, SourceStatus
from streamlic.truto.wait_reasons import WaitStatus

if TYPE_CHECKING:
    from streamlic.job.job import Job


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """The request of a run. A later process resumes a run with an equal request.

    ``identity`` is everything that decides the rows. With ``keeps_accounts`` a run that is resumed
    keeps the accounts it started with, whatever ``accounts`` are. ``skipped`` are accounts that
    cannot be read, with the reasons. ``details`` are what is known of accounts, skipped ones too.
    """

    identity: Mapping[str, Any]
    accounts: list[str | None]
    keeps_accounts: bool = False
    skipped: Mapping[str, str] | None = None
    details: Mapping[str, AccountDetails] | None = None


class Source(ABC):
    """Where a job's pages come from."""

    has_one_page = False

    @abstractmethod
    async def read_pages(self, job: Job) -> None:
        """Give the job every page that its run does not have."""

    @abstractmethod
    def status(self) -> SourceStatus:
        """Return what is cheap to know of its progress, as of now."""

    @property
    def failed(self) -> Mapping[str, StreamlicError]:
        """The error of each account that failed."""
        return {}

    @property
    def is_stopped(self) -> bool:
        """Whether it was cancelled before every page was read."""
        return False

    def waits(self) -> list[WaitStatus]:
        """Return what requests wait for, one for each reason."""
        return []

    def slowest(self) -> list[ActiveAccount]:
        """Return the accounts under way that started first."""
        return []

    async def rest(self) -> None:  # noqa: B027  (a source without limits need not)
        """Wait until requests of a process that this one replaces cannot exceed a limit."""

    def is_cancelled(self) -> bool:
        """Return whether the caller wants the job to stop."""
        return False

    async def still_existing(self, accounts: list[str]) -> set[str]:  # noqa: ARG002
        """Return which of these accounts exist, though a full listing lacks them."""
        return set()
