"""How many pages an export may have, as far as an earlier run in DEST tells."""

from __future__ import annotations

from collections.abc import Sequence

from streamlic.errors import StreamlicError
from streamlic.share import Share
from streamlic.truto.request import LicensesRequest


def expected_pages(
    dest: str, requests: Sequence[LicensesRequest], shard: Share | None = None
) -> int | None:
    """Return the pages that the last complete run had of these accounts, None if unknown.

    With a ``shard``, of those among them that it has.
    A run with another page size says nothing, nor does a dataset that cannot be read: the export
    itself reports that.
    """
    from streamlic.dataset.commit_log import in_full, load_lake
    from streamlic.dataset.records import shard_of
    from streamlic.storage.open_store import open_store

    try:
        store = open_store(dest)
        for run in load_lake(store).newest_first:
            if not run.is_complete:
                continue
            asked = (requests[0].limit, requests[0].ignore_limit)
            if (run.request.get("limit"), run.request.get("ignore_limit")) != asked:
                return None
            full = in_full(store, run)
            accounts = {*full.accounts} & {one.account for one in requests}
            pages = [
                full.point(one).pages
                for one in accounts
                if shard is None or shard_of(one, shard.of) == shard.number
            ]
            return sum(pages) or None
    except StreamlicError:
        return None
    return None
