"""What a lake of Delta tables needs now and then: old files deleted, and a short log.

Rules:
1. Delta says which files no version in its log needs any longer. Of these only part files of
   streamlic are deleted, and none that the lake's own log promises, which may still be shown, or
   that a later writer wrote, which has taken over meanwhile.
2. The caller holds the lake's lock.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from streamlic.dataset.lake import TABLES
from streamlic.storage.base import Store
from streamlic.tables.delta.table import Table, run_of_part
from streamlic.tables.table_format import Kept

_RETENTION = "delta.deletedFileRetentionDuration"
_DELTAS_OWN_DAYS = 7
_INTERVAL = re.compile(r"(?:interval )?(\d+) (day|week|hour)s?", re.IGNORECASE)
_HOURS = {"hour": 1, "day": 24, "week": 168}


def vacuum(store: Store, *, keep_days: int, kept: Kept, dry_run: bool = False) -> list[str]:
    """Delete part files that no version of the last ``keep_days`` days needs; return their names.

    ``dry_run`` only returns the names. If the table's property says that Delta remembers removed
    files for a shorter time, that counts: older versions have lost files already.
    """
    unneeded: list[str] = []
    for table in TABLES:
        delta = Table.opened(store, table)
        if delta:
            hours = min(keep_days * 24, _remembered_hours(delta))
            seen = {f"{table}/{path}" for path in delta.files}
            names = {f"{table}/{path}" for path in delta.unneeded(hours)} - seen
            ours = {name for name in names if run_of_part(name) and not kept.has(name)}
            unneeded += sorted(ours & _existing(store, ours))
    if not dry_run:
        store.delete(*unneeded)
    return unneeded


def shorten_logs(store: Store) -> None:
    """Write a checkpoint of each table, and delete the part of its log that Delta need not keep.

    How long Delta keeps it is the table's property ``delta.logRetentionDuration``.
    """
    for table in TABLES:
        delta = Table.opened(store, table)
        if delta:
            delta.shorten_log()


def _existing(store: Store, names: Collection[str]) -> set[str]:
    """Return the names of the files in the directories of these: Delta lists deleted ones, too."""
    places = {name.rpartition("/")[0] for name in names}
    return {f"{place}/{name}" for place in places for name in store.names(place)}


def _remembered_hours(delta: Table) -> int:
    text = delta.property_of(_RETENTION)
    found = _INTERVAL.fullmatch(text) if text else None
    return int(found[1]) * _HOURS[found[2].lower()] if found else _DELTAS_OWN_DAYS * 24
