"""Which accounts a run keeps of the runs that it replaces, and which it drops.

Rules:
1. The rows of accounts that the run read completely are replaced. All other accounts' rows are
   carried over: skipped accounts, failed ones, and those that were not requested. That also holds
   for a run that replaces the earlier one of its day.
2. A run of all accounts, listed without a filter, drops the accounts that the list does not have,
   but for those that the API still knows: a list may miss one while others come and go.
3. Integration and tenant of such an account are carried over, too, where the run does not know
   them.
4. In every mode, a run that is published when it is complete drops the pages that it has of
   accounts that failed: readers never see half of an account.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from streamlic.dataset.commit_log import in_full, load_lake
from streamlic.dataset.records import NOT_ASKED_FOR, UNKNOWN, AccountDetails, Carried, written
from streamlic.dataset.run_state import RunState
from streamlic.errors import DatasetConflict
from streamlic.formatting import counted
from streamlic.storage.base import Store
from streamlic.tables.carry_over import Carrying

ABSENT_ACCOUNTS = ("keep", "drop")
NOT_LISTED = "not listed"


def carrying(
    store: Store,
    run: RunState,
    failed: Mapping[str, str],
    *,
    batch_bytes: int,
    keeps_absent: bool = True,
    existing: Collection[str] = (),
) -> Carrying | None:
    """Return what a run must keep before it is complete, None if there is nothing.

    ``failed`` are the accounts that were not read completely, with the reasons. The run drops the
    pages that it has of them, unless readers have seen them. Without ``keeps_absent``, or if it
    replaces nothing, that is all. A full listing drops the accounts that it does not have, but for
    those that are ``existing``. Raises DatasetConflict if rows of another schema would have to be
    kept.
    """
    read = [account for account in run.accounts if (account or "") not in failed]
    not_read = frozenset(run.accounts) - frozenset(read)
    if run.mode != "overwrite" and not run.replaces:
        drops = bool(failed) and run.publish == "complete"
        return Carrying(store, {}, {}, [], not_read, {}, batch_bytes) if drops else None
    replaced = replaced_by(store, run)
    kept = _not_read(replaced, read)
    listed = _listed(run)
    gone = set() if listed is None else kept.keys() - listed - {*existing}
    dropped = {account: rows for account, rows in kept.items() if account in gone}
    kept = {a: rows for a, rows in kept.items() if keeps_absent and a not in dropped}
    if not (kept or dropped or failed):
        return None
    check_schemas(store, run.request, [*read, *dropped], replaced if keeps_absent else [])
    accounts = {
        account: Carried(
            rows=rows,
            reason=_reason(run, failed, account),
            exported_at=_exported_at(replaced, account),
        )
        for account, rows in kept.items()
    }
    return Carrying(
        store,
        accounts,
        dropped,
        [old for old in replaced if kept.keys() & old.account_rows.keys()],
        not_read,
        _details(replaced, kept),
        batch_bytes,
        [one.file for one in load_lake(store).rewritten_licenses_of(run.replaces)],
    )


def replaced_by(store: Store, run: RunState) -> list[RunState]:
    """Return the runs that this one replaces when it is complete."""
    runs = load_lake(store).runs
    return [in_full(store, runs[run_id]) for run_id in run.replaces if run_id in runs]


def check_schemas(
    store: Store,
    request: Mapping[str, Any],
    accounts: Iterable[str | None],
    replaced: Sequence[RunState],
) -> None:
    """Raise DatasetConflict if rows that a run must keep have another schema than its own."""
    different = [old for old in replaced if _is_raw(old.request) is not _is_raw(request)]
    others = [in_full(store, old) for old in different]
    kept = _not_read(others, accounts)
    if kept:
        was, now = _kinds(others[0].request)
        some = min(kept, key=str)
        raise DatasetConflict(
            f"{store.where()} holds {was} rows of {counted(len(kept), 'account')} that this run "
            f"does not read, such as {some}, and they cannot be kept with {now} rows",
            advice="leave them out with {absent_accounts=drop}, or choose another {dest}",
        )


def check_same_table(store: Store, request: Mapping[str, Any], runs: Iterable[RunState]) -> None:
    """Raise DatasetConflict if a run would add rows of another schema to those of these runs.

    Most readers take the columns of one part file for all, and the other rows would be nulls.
    """
    live = (run for run in runs if run.has_licenses and run.rows)
    other = next((run for run in live if _is_raw(run.request) is not _is_raw(request)), None)
    if other:
        was, now = _kinds(other.request)
        raise DatasetConflict(
            f"{store.where()} holds {was} rows, to which {now} rows cannot be added",
            advice="choose another {dest}",
        )


def _kinds(request: Mapping[str, Any]) -> tuple[str, str]:
    """Return which rows a request is for, and which other ones there are."""
    return ("raw", "licenses") if _is_raw(request) else ("licenses", "raw")


def _not_read(replaced: Iterable[RunState], read: Iterable[str | None]) -> dict[str | None, int]:
    """Return how many rows the replaced runs have of each account that was not read."""
    rows: Counter[str | None] = Counter()
    for old in replaced:
        rows.update(old.account_rows)
    for account in read:
        rows.pop(account, None)
    return dict(rows)


def _reason(run: RunState, failed: Mapping[str, str], account: str | None) -> str:
    if account is not None and account in run.skipped:
        return run.skipped[account]
    if (account or "") in failed:
        return f"failed: {failed[account or '']}"
    return NOT_LISTED if _has_full_listing(run) else NOT_ASKED_FOR


def _listed(run: RunState) -> set[str | None] | None:
    """Return the accounts of the full listing that the run was started with, None without one."""
    return {*run.accounts, *run.skipped} if _has_full_listing(run) else None


def _has_full_listing(run: RunState) -> bool:
    """Return whether the run was started with a listing of all accounts, without a filter."""
    all_of = run.request.get("all_of")
    return all_of is not None and not any(all_of.values())


def _details(
    replaced: Iterable[RunState], accounts: Iterable[str | None]
) -> dict[str | None, AccountDetails]:
    """Return the integration and the tenant of accounts as the newest replaced runs know them."""
    known: dict[str | None, AccountDetails] = {}
    for old in replaced:
        for account in accounts:
            if account in old.details:
                named = replace(old.details[account], status=None, is_blocked=None)
                known[account] = completed(named, known.get(account, UNKNOWN))
    return known


def completed(newer: AccountDetails, older: AccountDetails) -> AccountDetails:
    """Return ``newer`` with the integration and the tenant of ``older`` where it has none."""
    return replace(
        newer,
        integration=newer.integration or older.integration,
        tenant_id=newer.tenant_id or older.tenant_id,
    )


def _exported_at(replaced: Iterable[RunState], account: str | None) -> str:
    """Return when the newest rows of an account were exported, as the log writes a moment."""
    moments = []
    for old in replaced:
        if old.point(account).rows:
            moments.append(written(old.started_at))
        if carried := old.carried_over.get(account):
            moments.append(carried.exported_at or written(old.started_at))
    return max(moments, key=datetime.fromisoformat)


def _is_raw(request: Mapping[str, Any]) -> bool:
    return bool(request.get("raw"))
