"""What an export refuses in a DEST, as far as it is found without changing anything there."""

from __future__ import annotations

from streamlic.dataset.commit_log import load_lake
from streamlic.dataset.destination import lock_holder, refuse_foreign
from streamlic.storage.base import LockHeld, Store
from streamlic.tables.runs import check_nothing_foreign

_IS_SURE = "a writer is active"


def check_lake(store: Store) -> None:
    """Raise what an export would: for files of others, a damaged log, or another writer."""
    refuse_foreign(store)
    lake = load_lake(store)  # Another version's lake, or a damaged log, would end a run.
    writer = lock_holder(store)
    if writer.startswith(_IS_SURE):  # One that only may be active does not keep an export out.
        raise LockHeld(f"{store.where()}: {writer}", advice="wait for it, or choose another {dest}")
    if lake.pending is None:  # Else an export first finishes what another one has left.
        runs = lake.oldest_first
        check_nothing_foreign(store, lake, runs, is_in_place=lake.is_in_place)
