"""Stream the Truto unified API's licenses into Parquet: constant memory, nothing lost or doubled.

The public names are handed on from their modules when they are first used, so that
``streamlic --help`` answers before pyarrow and aiohttp are loaded.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from streamlic._version import __version__

if TYPE_CHECKING:
    from streamlic.answers.figures import Report
    from streamlic.api.client import Client, export
    from streamlic.api.reader import LicensesReader, read_licenses
    from streamlic.api.report import report
    from streamlic.decoder import Decoder, Envelope, open_decoder
    from streamlic.errors import (
        AccountBlocked,
        AccountNeedsReauth,
        ApiError,
        AuthenticationError,
        DatasetConflict,
        DecodeError,
        Fault,
        IntegrityError,
        LimitExceeded,
        ListingTooLarge,
        MachineError,
        NotAListing,
        PageMismatch,
        PermitsUnavailable,
        RateLimited,
        ReportedFailure,
        RescueError,
        StoreError,
        StreamlicError,
        TaskFailed,
        TooManyAbsent,
        TransportError,
        TruncatedBody,
        UsageError,
    )
    from streamlic.job.limits import Limits
    from streamlic.job.options import JobOptions
    from streamlic.job.progress import AccountEnded, Committed, PageDone, Progress
    from streamlic.job.settings import Cancel
    from streamlic.job.summary import (
        AccountError,
        AccountsFailed,
        AccountSummary,
        Cancelled,
        CarriedOverAccount,
        DiscardedRun,
        DroppedAccount,
        FailedAccount,
        ShardSummary,
        SkippedAccount,
        Summary,
    )
    from streamlic.resources.license_schema import LICENSE_SCHEMA
    from streamlic.schema.columns import RAW_SCHEMA
    from streamlic.share import Share
    from streamlic.truto.accounts import IntegratedAccount
    from streamlic.truto.budget.base import TokenBudget, TokenPermit
    from streamlic.truto.budget.leased import LeasedBudget
    from streamlic.truto.budget.server import PermitServer
    from streamlic.truto.budget.shared import shared_budget
    from streamlic.truto.credentials import TokenSource
    from streamlic.truto.rate_limit import LocalBudget, RateLimit
    from streamlic.truto.request import LicensesRequest
    from streamlic.truto.retry import Retry, RetryPolicy
    from streamlic.truto.settings import ConnectionSettings
    from streamlic.truto.timeouts import Timeouts

__all__ = [
    "LICENSE_SCHEMA",
    "RAW_SCHEMA",
    "AccountBlocked",
    "AccountEnded",
    "AccountError",
    "AccountNeedsReauth",
    "AccountSummary",
    "AccountsFailed",
    "ApiError",
    "AuthenticationError",
    "Cancel",
    "Cancelled",
    "CarriedOverAccount",
    "Client",
    "Committed",
    "ConnectionSettings",
    "DatasetConflict",
    "DecodeError",
    "Decoder",
    "DiscardedRun",
    "DroppedAccount",
    "Envelope",
    "FailedAccount",
    "Fault",
    "IntegratedAccount",
    "IntegrityError",
    "JobOptions",
    "LeasedBudget",
    "LicensesReader",
    "LicensesRequest",
    "LimitExceeded",
    "Limits",
    "ListingTooLarge",
    "LocalBudget",
    "MachineError",
    "NotAListing",
    "PageDone",
    "PageMismatch",
    "PermitServer",
    "PermitsUnavailable",
    "Progress",
    "RateLimit",
    "RateLimited",
    "Report",
    "ReportedFailure",
    "RescueError",
    "Retry",
    "RetryPolicy",
    "ShardSummary",
    "Share",
    "SkippedAccount",
    "StoreError",
    "StreamlicError",
    "Summary",
    "TaskFailed",
    "Timeouts",
    "TokenBudget",
    "TokenPermit",
    "TokenSource",
    "TooManyAbsent",
    "TransportError",
    "TruncatedBody",
    "UsageError",
    "__version__",
    "export",
    "open_decoder",
    "read_licenses",
    "report",
    "shared_budget",
]

_HOMES = {
    "api.client": ["Client", "export"],
    "answers.figures": ["Report"],
    "api.reader": ["LicensesReader", "read_licenses"],
    "api.report": ["report"],
    "decoder": ["Decoder", "Envelope", "open_decoder"],
    "job.settings": ["Cancel"],
    "job.limits": ["Limits"],
    "job.options": ["JobOptions"],
    "job.progress": ["AccountEnded", "Committed", "PageDone", "Progress"],
    "job.summary": [
        "AccountError",
        "AccountSummary",
        "AccountsFailed",
        "Cancelled",
        "CarriedOverAccount",
        "DiscardedRun",
        "DroppedAccount",
        "FailedAccount",
        "ShardSummary",
        "SkippedAccount",
        "Summary",
    ],
    "resources.license_schema": ["LICENSE_SCHEMA"],
    "schema.columns": ["RAW_SCHEMA"],
    "share": ["Share"],
    "truto.accounts": ["IntegratedAccount"],
    "truto.budget.base": ["TokenBudget", "TokenPermit"],
    "truto.budget.leased": ["LeasedBudget"],
    "truto.budget.server": ["PermitServer"],
    "truto.budget.shared": ["shared_budget"],
    "truto.credentials": ["TokenSource"],
    "truto.rate_limit": ["LocalBudget", "RateLimit"],
    "truto.request": ["LicensesRequest"],
    "truto.retry": ["Retry", "RetryPolicy"],
    "truto.settings": ["ConnectionSettings"],
    "truto.timeouts": ["Timeouts"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"streamlic.{_HOME_OF.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
