"""What each column of the lake's tables means. The reference is generated from this."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from streamlic.dataset.lake import ACCOUNTS, LICENSES, RUNS

_ACCOUNT: Final = {
    "integrated_account_id": "the integrated account",
    "integration": "the vendor's name in Truto, such as `slack`; null if it is not known",
    "tenant_id": "the customer's id in Truto; null if it is not known",
}
_RUN: Final = {
    "_exported_at": "when the run started",
    "_run": "the run; it joins the three tables",
}

MEANINGS: Final[Mapping[str, Mapping[str, str]]] = {
    LICENSES: {
        **_ACCOUNT,
        "id": "the license's id",
        "name": "its name",
        "description": "its description",
        "available_quantity": "seats in total; some vendors report -1 for unlimited",
        "assigned_quantity": "seats that are in use",
        "unit_amount": "price of a seat",
        "currency": "currency of the price",
        "is_paid": "whether it costs anything",
        "status": "its status, in the vendor's words",
        "products": "the products that it includes",
        "roles": "the roles that it grants",
        "created_at": "when the vendor created it",
        "updated_at": "when the vendor last changed it",
        "remote_data": "the vendor's own object",
        "_rescued": "values that fit no column, by JSON Pointer",
        "_exported_at": "when the run started that read the row",
        "_run": "the run that read the row, also if a later run has carried it over",
    },
    ACCOUNTS: {
        **_ACCOUNT,
        "status": "the account's status in Truto, such as `active`, when the run started",
        "is_blocked": "whether Truto has blocked it",
        "outcome": (
            "`read`: to its end. `carried_over`: not read, and the lake keeps older rows of it. "
            "`skipped`: not requested, because it was not readable. `failed`: requested, and not "
            "read to its end"
        ),
        "reason": "why it was skipped or carried over",
        "rows": "its rows in `licenses` by this run, carried rows included",
        "pages": "pages that were read",
        "rescued": "rows with values in `_rescued`",
        "partial_response": "whether the API called a response partial",
        "error_kind": "if it failed, the class of the error",
        "error_message": "the error's message",
        "error_retryable": "whether a retry can help",
        "started_at": "when its first page arrived",
        "ended_at": "when its last page arrived",
        "rows_exported_at": "the `_exported_at` of its newest rows; null if it has none",
        **_RUN,
    },
    RUNS: {
        "run_key": "the key that the run was given, null without one",
        "mode": "the mode: `error`, `append` or `overwrite`",
        "started_at": "when the run started",
        "ended_at": "when it was complete",
        "complete": "whether no account failed",
        "accounts": "rows of `accounts`",
        "accounts_read": "of these, accounts that were read to their ends",
        "accounts_skipped": "accounts that were skipped and have no older rows",
        "accounts_failed": "accounts that failed and have no older rows",
        "accounts_carried_over": "accounts with older rows instead",
        "accounts_dropped": "accounts that no longer exist, whose rows an overwrite dropped",
        "rows": "rows of `licenses` that the run published, carried rows included",
        "rows_carried_over": "of these, rows of earlier runs",
        "pages": "pages that were read",
        "rescued": "rows with values in `_rescued`",
        "bytes": "size of the part files of `licenses`",
        "part_files": "number of the part files of `licenses`",
        "engine": "the decoder: `fast` or `reference`",
        "version": "the version of streamlic",
        "request": "the request: its parameters, without the token",
        **_RUN,
    },
}
"""By table and column."""
