"""The table of accounts that comes with their licenses: what was read, and why the rest was not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import pyarrow as pa

from streamlic.dataset.lake import (
    ACCOUNT_COLUMN,
    ACCOUNTS_SCHEMA,
    INTEGRATION_COLUMN,
    TENANT_COLUMN,
)
from streamlic.dataset.records import Failed
from streamlic.dataset.run_tables import FAILED, READ, SKIPPED, error_columns
from streamlic.decoder import Envelope
from streamlic.errors import StreamlicError
from streamlic.job.account_details import details_of
from streamlic.job.summary import failure_of
from streamlic.truto.accounts import IntegratedAccount

ACCOUNT_FIELDS = [
    pa.field(name, pa.string()) for name in (ACCOUNT_COLUMN, INTEGRATION_COLUMN, TENANT_COLUMN)
]
"""The columns that say whose a license is."""
_OF_A_DATASET = {"rows_exported_at", "_exported_at", "_run"}
SCHEMA = pa.schema([field for field in ACCOUNTS_SCHEMA if field.name not in _OF_A_DATASET])
"""The columns of a lake's table of accounts, without those that only a lake has."""


@dataclass
class AccountRead:
    """What is known of an account whose reading was started."""

    started_at: datetime
    ended_at: datetime | None = None
    """When its last page was read or given up; None while it has further pages."""
    rows: int = 0
    """The rows that were queued for the consumer."""
    pages: int = 0
    rescued: int = 0
    is_partial: bool = False
    failed: Failed | None = None

    def add_page(self, envelope: Envelope, *, is_last: bool) -> None:
        """Count a whole page."""
        self.pages += 1
        self.rescued += envelope.rescued
        self.is_partial |= envelope.is_partial_response or envelope.next_link is not None
        if is_last:
            self.ended_at = datetime.now(UTC)

    def fail(self, error: StreamlicError) -> None:
        """Record why the account was given up."""
        self.failed = failure_of(error)
        self.ended_at = datetime.now(UTC)

    def columns(self) -> dict[str, object]:
        """Return the values of its row, without the account's details."""
        failed = self.failed
        return {
            "outcome": FAILED if failed else READ,
            "rows": self.rows,
            "pages": self.pages,
            "rescued": self.rescued,
            "partial_response": self.is_partial,
            **error_columns(failed),
            "started_at": self.started_at,
            "ended_at": self.ended_at,
        }


def accounts_table(
    reads: Mapping[str, AccountRead],
    known: Mapping[str, IntegratedAccount],
    skipped: Iterable[IntegratedAccount],
) -> pa.Table:
    """Return a row for each account that was read to its end, failed or was skipped.

    ``known`` has the details of accounts, by id, as far as Truto's list of accounts was read.
    """
    rows = [
        {ACCOUNT_COLUMN: account, **_details(known.get(account)), **read.columns()}
        for account, read in reads.items()
        if read.ended_at
    ]
    rows += [
        {
            ACCOUNT_COLUMN: one.id,
            **_details(one),
            "outcome": SKIPPED,
            "reason": one.why_not,
            **dict.fromkeys(("rows", "pages", "rescued"), 0),
            "partial_response": False,
        }
        for one in skipped
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _details(account: IntegratedAccount | None) -> dict[str, object]:
    return {} if account is None else asdict(details_of(account))
