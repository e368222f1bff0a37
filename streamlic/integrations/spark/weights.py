"""How long accounts took before: what they weigh when Spark's tasks divide them."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from streamlic.dataset.head import rows_of_table
from streamlic.dataset.lake import ACCOUNT_COLUMN, ACCOUNTS, ACCOUNTS_SCHEMA
from streamlic.dataset.run_tables import READ
from streamlic.job.options import JobOptions

_MOST_KNOWN_ROWS = 2_000_000
"""The rows of a table of accounts in which weights are searched, the newest first."""
_ROWS_OF_A_PAGE = 4000
"""A page with more rows takes longer to decode than the token's limit makes it wait."""


def known_weights(dest: str, accounts: Mapping[str, object]) -> dict[str, float]:
    """Return how long accounts took in a lake's newest run that read them, in pages.

    Raises UsageError if there is no lake.
    """
    store = JobOptions().open_store(dest)
    names = [ACCOUNT_COLUMN, "outcome", "pages", "rows"]
    schema = pa.schema([ACCOUNTS_SCHEMA.field(name) for name in names])
    weights: dict[str, float] = {}
    for batch in rows_of_table(store, ACCOUNTS).batches(schema, _MOST_KNOWN_ROWS):
        for row in batch.to_pylist():
            account = row[ACCOUNT_COLUMN]
            if row["outcome"] == READ and account in accounts:
                pages, rows = row["pages"] or 0, row["rows"] or 0
                weights.setdefault(account, float(max(pages, rows / _ROWS_OF_A_PAGE)))
        if len(weights) == len(accounts):
            break
    return weights
