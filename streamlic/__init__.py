"""Stream the Truto unified API's licenses into Parquet: constant memory, nothing lost or doubled.

The public names are handed on from their modules when they are first used, so that
``streamlic --help`` answers before pyarrow and aiohttp are loaded.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from streamlic._version import __version__

if TYPE_CHECKING:
    from streamlic.api.client import Client, export
    from streamlic.api.reader import read_licenses
    from streamlic.decoder import Decoder, Envelope, open_decoder
    from streamlic.errors import (
        AccountBlocked,
        AccountNeedsReauth,
        ApiError,
        AuthenticationError,
        DatasetConflict,
        DecodeError,
        Fault,
        GuardExceeded,
        IntegrityError,
        LimitExceeded,
        MachineError,
        NotAListing,
        PageMismatch,
        RateLimited,
        ReportedFailure,
        RescueError,
        StoreError,
        StreamlicError,
        TransportError,
        TruncatedBody,
        UsageError,
    )
    from streamlic.job.cancellation import Cancel, Cancelled
    from streamlic.job.options import JobOptions
    from streamlic.job.page_checks import Guards
    from streamlic.job.summary import (
        AccountError,
        AccountsFailed,
        AccountSummary,
        CarriedOverAccount,
        FailedAccount,
        Progress,
        SkippedAccount,
        Summary,
    )
    from streamlic.schema.values import LICENSE_SCHEMA, RAW_SCHEMA
    from streamlic.truto.client import Timeouts
    from streamlic.truto.credentials import TokenSource
    from streamlic.truto.rate_limit import RetryPolicy
    from streamlic.truto.request import LicensesRequest

__all__ = [
    "LICENSE_SCHEMA",
    "RAW_SCHEMA",
    "AccountBlocked",
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
    "DatasetConflict",
    "DecodeError",
    "Decoder",
    "Envelope",
    "FailedAccount",
    "Fault",
    "GuardExceeded",
    "Guards",
    "IntegrityError",
    "JobOptions",
    "LicensesRequest",
    "LimitExceeded",
    "MachineError",
    "NotAListing",
    "PageMismatch",
    "Progress",
    "RateLimited",
    "ReportedFailure",
    "RescueError",
    "RetryPolicy",
    "SkippedAccount",
    "StoreError",
    "StreamlicError",
    "Summary",
    "Timeouts",
    "TokenSource",
    "TransportError",
    "TruncatedBody",
    "UsageError",
    "__version__",
    "export",
    "open_decoder",
    "read_licenses",
]

_HOMES = {
    **dict.fromkeys(["Client", "export"], "api.client"),
    "Timeouts": "truto.client",
    "TokenSource": "truto.credentials",
    **dict.fromkeys(["Decoder", "Envelope", "open_decoder"], "decoder"),
    "JobOptions": "job.options",
    **dict.fromkeys(
        [
            "AccountError",
            "AccountSummary",
            "AccountsFailed",
            "CarriedOverAccount",
            "FailedAccount",
            "Progress",
            "SkippedAccount",
            "Summary",
        ],
        "job.summary",
    ),
    "RetryPolicy": "truto.rate_limit",
    "Guards": "job.page_checks",
    "read_licenses": "api.reader",
    "LicensesRequest": "truto.request",
    **dict.fromkeys(["LICENSE_SCHEMA", "RAW_SCHEMA"], "schema.values"),
    **dict.fromkeys(["Cancel", "Cancelled"], "job.cancellation"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"streamlic.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value
