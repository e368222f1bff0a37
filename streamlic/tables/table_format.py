"""How a change of the log becomes visible to readers: plain Parquet, Delta or Iceberg.

Rules:
1. A record of the commit log is durable before its change is shown. So after a crash a change is
   shown again, and that must not show anything twice.
2. The changes of a lake are shown in the order of their numbers, one at a time.
3. Each table changes in one step as far as the format allows: licenses first, runs last.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from streamlic.dataset.lake import epoch_of, run_of, table_of
from streamlic.dataset.records import PartFile
from streamlic.errors import IntegrityError
from streamlic.storage.base import Store


@dataclass(frozen=True, kw_only=True)
class Change:
    """What one record of the log shows to readers, and what it hides from them."""

    lake: str
    """The lake's identity, which its first record gave it."""
    number: int
    """The record's number. Every later change has a greater one."""
    run: str
    """The run that the record is about; empty if it is about several."""
    shown: Sequence[PartFile]
    """Part files that readers must see, of all tables; they are complete, and durable."""
    hidden: Sequence[str]
    """Names of part files that readers must not see any longer, of all tables."""
    schemas: Mapping[str, pa.Schema] = field(default_factory=dict)
    """The Arrow schemas of the tables, for formats that keep one of their own."""
    is_rewrite: bool = False
    """Whether the rows stay the same, and only lie in other files."""
    existing: Collection[str] = ()
    """The tables that have shown part files of the lake: one that is gone is not created again."""
    is_recorded: bool = False
    """Whether the log has the record: then the change must be shown before any other one."""
    live: Collection[str] | None = None
    """Names of the part files that count, if some are hidden: of ours, readers see no others."""

    def hidden_of(self, table: str) -> list[str]:
        """Return the names of a table's part files that are hidden."""
        return [name for name in self.hidden if table_of(name) == table]

    def restored(self, seen: Iterable[str]) -> str | None:
        """Return a part file of the lake that readers see although it does not count any longer.

        Another program has then restored an earlier version of the table.
        """
        if self.live is None:
            return None
        expected = {*self.live, *self.hidden}
        return next((name for name in seen if run_of(name) and name not in expected), None)


@dataclass(frozen=True)
class Kept:
    """Which part files stay, whatever a table says of them."""

    promised: Collection[str] = ()
    """By name: the commit log promises them, whether readers see them or not."""
    epoch: int = sys.maxsize
    """Those of later epochs: they belong to a writer that has taken over meanwhile."""

    unfinished: Collection[str] = ()
    """Those of these runs: other processes may write them."""

    def has(self, name: str) -> bool:
        """Return whether a part file stays."""
        is_later = epoch_of(name) > self.epoch
        return is_later or name in self.promised or run_of(name) in self.unfinished


class TableFormat(Protocol):
    """How readers see the part files of a lake."""

    name: str
    """As ``--format`` names it."""

    def check(self, change: Change) -> None:
        """Raise what ``show`` would raise, as far as the tables tell now.

        A record cannot be taken back: so this comes before the one that promises the change.
        """

    def try_out(self, change: Change) -> None:
        """Check a change, and try what ``show`` needs of other systems, before a run reads.

        Nothing of it is visible to readers, and it may take a while.
        """

    def show(self, change: Change) -> None:
        """Make a change visible, once: a change that is visible already is left as it is.

        Raises StoreError or IntegrityError if it cannot be done, UsageError if the table there is
        not one that this format can continue.
        """

    def visible(self, table: str) -> set[str] | None:
        """Return the names of the part files that readers of a table see.

        None means that a listing says it. The names are those in the lake, with their table.
        """

    def whole(self, table: str) -> set[str] | None:
        """Return the names of the part files of which readers see every row: None as ``visible``.

        Others must not be copied: rows that another program has deleted would come back.
        """

    def forget_versions(self, keep_days: int, kept: Kept, *, dry_run: bool = False) -> list[str]:
        """Let versions of the tables go that are older than ``keep_days`` days.

        Deletes the part files that only they needed, and returns their names; ``kept`` ones stay.
        The caller holds the lake's lock. ``dry_run`` only returns the names.
        """


def missing_file(store: Store, why: str) -> IntegrityError:
    """Return the error for a part file that a record promises, and that is nowhere."""
    return IntegrityError(
        f"a part file in {store.where()} was promised and is missing: {why}",
        advice="fetch again with {restart=True}, or into another {dest}",
    )
