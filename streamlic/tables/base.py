"""What a lake promises: part files and resume points become visible together, or not at all.

Rules:
1. Part files are durable in staging before a commit record names them; the record is durable
   before readers see them. A crash between any two steps leaves what ``recover`` completes or
   deletes, and a crash in ``recover`` leaves what the next one does.
2. Readers never see rows of a file that no record promises.
3. A run shows nothing until it is complete, unless it was started to show what it "commits". Then
   its files become visible: licenses first, the row of ``runs`` last. Only then do the licenses of
   the runs go that it replaces; their rows of ``accounts`` and ``runs`` stay.
4. The record that completes such a run may supersede part files of its earlier records. They are
   still in staging, and the record's own part files have the rows of theirs that count.
5. Only the holder of the dataset's lock calls what writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from streamlic.dataset.records import AccountDetails, Carried, Failed, PartFile, Points
from streamlic.dataset.run_state import RunState
from streamlic.storage.base import Store


class Table(Protocol):
    """The runs of one lake, and how readers see their rows."""

    @property
    def store(self) -> Store:
        """Where the commit log and the staged part files are."""

    def load(self) -> list[RunState]:
        """Return the runs, oldest first. Nothing is written."""

    def commit(
        self,
        run: RunState,
        files: Iterable[PartFile],
        points: Points,
        *,
        is_complete: bool,
        superseded: Iterable[str] = (),
        carried_over: Mapping[str | None, Carried] | None = None,
        failed: Mapping[str | None, Failed] | None = None,
        details: Mapping[str | None, AccountDetails] | None = None,
        dropped: Mapping[str | None, int] | None = None,
    ) -> None:
        """Promise staged files and resume points, then show readers what they may see.

        ``failed`` are the accounts that a complete run does not have. ``superseded`` names promised
        part files that no longer count; they must still be in staging. ``run`` is brought up to
        date. The other arguments are as in ``RunState``.
        """

    def recover(self, *, leaves_unfinished: bool = False) -> list[RunState]:
        """Complete what was promised, delete what was not; return the runs, oldest first.

        Runs of which no work was left have shed what the log says of single accounts.
        ``leaves_unfinished`` skips a run that the caller will remove: it may be past recovery.
        Raises IntegrityError if the log is damaged, or a promised file is missing.
        """

    def remove(self, run_id: str) -> None:
        """Remove a run and its rows. The next ``recover`` completes an interrupted removal."""
