"""What each night brought: the runs that are complete, their accounts and their vendors.

All of it comes from the commit log: no part file is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from streamlic.dataset.run_state import RunState
from streamlic.dataset.run_tables import (
    CARRIED_OVER,
    FAILED,
    READ,
    SKIPPED,
    account_rows,
    accounts_of,
    outcome_of,
)

_OF_THE_RUN = ("_exported_at", "_run")


@dataclass(frozen=True, kw_only=True)
class Night:
    """A complete run. ``licenses`` are those of all its accounts, carried over ones included."""

    run: str
    run_key: str | None
    started_at: str
    mode: str
    replaced: bool
    licenses: int
    accounts_read: int
    accounts_skipped: int
    accounts_failed: int
    accounts_carried_over: int
    accounts_dropped: int
    oldest_carried_over: str | None
    """When the oldest rows that were carried over were exported."""
    rescued: int


@dataclass(frozen=True, kw_only=True)
class Vendor:
    """An integration: its accounts that have a place in a night, and their licenses.

    ``integration`` is None for the accounts whose integration is not known.
    """

    integration: str | None
    accounts: int
    licenses: int


def nights_of(runs: Iterable[RunState]) -> list[Night]:
    """Return the nights that have not expired, oldest first."""
    return [_night(run) for run in runs if run.is_complete and not run.is_expired]


def vendors_of(run: RunState) -> list[Vendor]:
    """Return the vendors of a complete run, the one with most licenses first."""
    accounts: Counter[str | None] = Counter()
    licenses: Counter[str | None] = Counter()
    rows = run.account_rows
    for account in accounts_of(run):
        if outcome_of(run, account) in (READ, CARRIED_OVER):
            integration = run.details_of(account).integration
            accounts[integration] += 1
            licenses[integration] += rows.get(account, 0)
    found = (
        Vendor(integration=name, accounts=count, licenses=licenses[name])
        for name, count in accounts.items()
    )
    return sorted(found, key=lambda one: (-one.licenses, one.integration or ""))


def accounts_as_json(run: RunState) -> list[dict[str, Any]]:
    """Return a complete run's rows of ``accounts``, as JSON values."""
    return [
        {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in row.items()
            if name not in _OF_THE_RUN
        }
        for row in account_rows(run)
    ]


def _night(run: RunState) -> Night:
    outcomes = Counter(outcome_of(run, account) for account in accounts_of(run))
    carried = [one.exported_at for one in run.carried_over.values() if one.exported_at]
    return Night(
        run=run.id,
        run_key=run.key,
        started_at=run.started_at.isoformat(),
        mode=run.mode,
        replaced=run.is_replaced,
        licenses=run.rows,
        accounts_read=outcomes[READ],
        accounts_skipped=outcomes[SKIPPED],
        accounts_failed=outcomes[FAILED],
        accounts_carried_over=outcomes[CARRIED_OVER],
        accounts_dropped=len(run.dropped),
        oldest_carried_over=min(carried, default=None),
        rescued=sum(point.rescued for point in run.points.values()),
    )
