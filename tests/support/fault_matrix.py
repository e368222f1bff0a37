"""What can go wrong between the API and us: what a user sees of it, and what stays promised.

``python -m tests.support.fault_matrix`` prints the list as the README has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from streamlic.errors import (
    NO_RETRY_HELPS,
    RETRY_CAN_HELP,
    AccountBlocked,
    AccountNeedsReauth,
    ApiError,
    AuthenticationError,
    DecodeError,
    PageMismatch,
    RateLimited,
    StreamlicError,
    TransportError,
    TruncatedBody,
)


class Once(StrEnum):
    """What comes of a fault that does not come again."""

    TAKEN = "taken as it is"
    AGAIN = "the page is fetched again"
    FATAL = "the run stops at once"


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """A fault of the emulator's.

    ``error`` and ``says`` (a regular expression) are what a run ends with that meets it every
    time; None where it does no harm.
    """

    fault: str
    what: str
    once: Once
    error: type[StreamlicError] | None = None
    says: str = ""

    @property
    def exit_code(self) -> int:
        """What a run of one account ends with that meets it every time."""
        if self.error is None:
            return 0
        if issubclass(self.error, TruncatedBody):  # It may be whole the next time.
            return RETRY_CAN_HELP
        own = self.error.exit_code
        is_for_good = own == RETRY_CAN_HELP and self.once is Once.FATAL
        return NO_RETRY_HELPS if is_for_good else own


def _again(fault: str, what: str, error: type[StreamlicError], says: str) -> Trouble:
    return Trouble(fault=fault, what=what, once=Once.AGAIN, error=error, says=says)


def _fatal(fault: str, what: str, error: type[StreamlicError], says: str) -> Trouble:
    return Trouble(fault=fault, what=what, once=Once.FATAL, error=error, says=says)


def _taken(fault: str, what: str) -> Trouble:
    return Trouble(fault=fault, what=what, once=Once.TAKEN)


TROUBLES = [
    _again("429=1", "429, Retry-After in seconds", RateLimited, "429"),
    _again("429=date:1", "429, Retry-After as a date", RateLimited, "429"),
    _again("429=none", "429 without Retry-After", RateLimited, "429"),
    _again("status=408", "408", ApiError, "408"),
    _again("status=425", "425", ApiError, "425"),
    _again("status=500", "500", ApiError, "500.*Truto itself failed"),
    _again("status=502", "502", ApiError, "502"),
    _again("status=503", "503", ApiError, "503"),
    _again("status=504", "504", ApiError, "504"),
    _again("status=522", "another status of 500 or more, such as 522", ApiError, "522"),
    _again("foreign=522", "such a status that Truto did not send", ApiError, "between us and"),
    _fatal("status=503:blocked", "503, the account is blocked", AccountBlocked, "blocked"),
    _fatal("status=400:missing_required_query_parameters", "400, a parameter is missing", ApiError,
           "missing organization_id: give --organization-id"),
    _fatal("status=401", "401, the token is refused", AuthenticationError, "--token-file"),
    _fatal("status=403:forbidden_error", "403, scopes are missing", ApiError, "missing scopes"),
    _again("status=403:rate_limit_error", "403, a rate limit by its insight", RateLimited, "403"),
    _again("foreign=403", "403 of a firewall", ApiError, "between us and the API"),
    _fatal("status=404", "404", ApiError, "not visible to this token"),
    _again("foreign=404", "404 of a gateway", ApiError, "between us and the API"),
    _again("foreign=206", "another status of success, such as 206", ApiError, "206"),
    _fatal("status=409", "409", ApiError, "409"),
    _fatal("status=422", "422", ApiError, "422"),
    _again("vendor=502", "a failure of the vendor", ApiError, "own words.*remote provider"),
    _again("vendor=429", "a rate limit of the vendor", RateLimited, "429"),
    _fatal("vendor=401", "the vendor wants the account connected again", AccountNeedsReauth,
           "connected again by its owner"),
    Trouble(fault="redirect", what="a redirect within the API's origin", once=Once.TAKEN,
            error=ApiError, says="5 redirects at most"),
    _again("redirect=http://127.0.0.2:9", "a redirect to another origin", ApiError,
           "token goes to http://127.0.0.1"),
    _again("refuse=1", "no connection for a second", TransportError, "connect"),
    _again("reset", "the connection is reset before the body", TransportError, ""),
    _again("reset=3000", "the connection is reset within the body", TransportError, ""),
    _again("close=3000", "the connection is closed within the body", TransportError, ""),
    _again("stall=3:3000", "silence for longer than the limit", TransportError, "silen|time"),
    _taken("drip=300", "one byte at a time"),
    _again("length=10", "a Content-Length that is too large", TransportError, ""),
    _again("no-end", "a chunked body without its last chunk", TransportError, ""),
    _again("cut-gzip=300", "a gzip stream that is cut, in whole framing", TransportError,
           "compressed"),
    _again("break-gzip=300", "a gzip stream that is corrupt", TransportError,
           "compressed"),
    _taken("coding=utf-8", "a Content-Encoding that encodes nothing, such as utf-8"),
    _fatal("coding=zstd", "a Content-Encoding that was not asked for", ApiError, "zstd"),
    _taken("bomb=64", "64 MiB of white space in a small gzip stream"),
    _again("cut-json=3000", "JSON that is cut, in whole framing", TruncatedBody, "byte 3000"),
    _again("break-json=3000", "a byte that is no JSON", DecodeError, "byte 3000"),
    _again("envelope=3000", "an error envelope in the middle of the body", DecodeError, "byte"),
    _again("late-error=502", "an error that is told after the rows, status 200", ApiError,
           "502.*half-way.*reported in the body"),
    _again("error-record=500", "an error in place of a record, status 200", ApiError, "500"),
    _again("error-line=503", "a newline-delimited body that ends with an error", ApiError, "503"),
    _again("error-body=429", "a rate limit told in a body with status 200", RateLimited, "429"),
    _again("html", "a page for people with status 200", TransportError, "Please sign in"),
    _again("count=1", "a result_count that is wrong", PageMismatch, "result_count"),
    _again("repeat-cursor", "a cursor that leads in a circle", PageMismatch, "circle"),
    _again("same-page", "the rows of the page before, under a new cursor", PageMismatch, "50 ids"),
    _fatal("expired-cursor", "a cursor that the API takes no more", ApiError, "--restart"),
]  # fmt: skip


def table() -> str:
    """Return the list as a table of markdown."""
    lines = ["| what happens | once | every time | exit code |", "| --- | --- | --- | --- |"]
    for one in TROUBLES:
        ends = one.error.__name__ if one.error else one.once.value
        lines.append(f"| {one.what} | {one.once} | {ends} | {one.exit_code} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
