"""What can go wrong between the API and us: how a run reacts, once and every time.

``python -m tests.support.fault_matrix`` prints the list as docs/reference/faults.md has it.
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
    """How a run reacts to a fault that happens once."""

    TAKEN = "no effect"
    AGAIN = "the page is retried"
    FATAL = "the run fails at once"


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """A fault of the emulator, and how a run reacts.

    A run that meets it every time ends with ``error``, whose message matches the regular expression
    ``says``. ``error`` is None if the fault does no harm.
    """

    fault: str
    what: str
    once: Once
    error: type[StreamlicError] | None = None
    says: str = ""

    @property
    def exit_code(self) -> int:
        """The exit code of a run of one account that meets the fault every time."""
        if self.error is None:
            return 0
        if issubclass(self.error, TruncatedBody):  # It may be complete the next time.
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
    _again("foreign=522", "522 that Truto did not send", ApiError, "not in Truto.s format"),
    _fatal("status=503:blocked", "503, the account is blocked", AccountBlocked, "blocked"),
    _fatal("status=400:missing_required_query_parameters", "400, a parameter is missing", ApiError,
           "missing organization_id [(]organization_id[)]"),
    _fatal("status=401", "401, the token is refused", AuthenticationError, "give a token file"),
    _fatal("status=403:forbidden_error", "403, scopes are missing", ApiError, "missing scopes"),
    _again("status=403:rate_limit_error", "403, and the insight is a rate limit",
           RateLimited, "403"),
    _again("foreign=403", "403 from a firewall", ApiError, "not in Truto.s format"),
    _fatal("status=404", "404", ApiError, "not visible to this token"),
    _again("foreign=404", "404 from a gateway", ApiError, "not in Truto.s format"),
    _again("foreign=206", "a success status other than 200, such as 206", ApiError, "206"),
    _fatal("status=409", "409", ApiError, "409"),
    _fatal("status=422", "422", ApiError, "422"),
    _again("vendor=502", "502 from the vendor", ApiError, "vendor's message.*remote provider"),
    _again("vendor=429", "429 from the vendor", RateLimited, "429"),
    _fatal("vendor=401", "401 from the vendor: the account needs to be reconnected",
           AccountNeedsReauth, "must connect the account again"),
    Trouble(fault="redirect", what="a redirect within the API's origin", once=Once.TAKEN,
            error=ApiError, says="5 redirects at most"),
    _again("redirect=http://127.0.0.2:9", "a redirect to another origin", ApiError,
           "token goes to http://127.0.0.1"),
    _again("refuse=1", "no connections accepted for a second", TransportError, "connect"),
    _again("reset", "the connection is reset before the body", TransportError, ""),
    _again("reset=3000", "the connection is reset within the body", TransportError, ""),
    _again("close=3000", "the connection is closed within the body", TransportError, ""),
    _again("stall=3:3000", "silence for longer than the limit", TransportError, "silen|time"),
    _taken("drip=300", "one byte at a time"),
    _again("length=10", "a Content-Length that is too large", TransportError, ""),
    _again("no-end", "a chunked body without its last chunk", TransportError, ""),
    _again("cut-gzip=300", "a truncated gzip stream in complete framing", TransportError,
           "compressed"),
    _again("break-gzip=300", "a corrupt gzip stream", TransportError,
           "compressed"),
    _taken("coding=utf-8", "a Content-Encoding without encoding, such as utf-8"),
    _fatal("coding=dcz", "a Content-Encoding that the request did not accept", ApiError, "dcz"),
    _taken("bomb=64", "64 MiB of white space in a small gzip stream"),
    _again("cut-json=3000", "truncated JSON in complete framing", TruncatedBody, "byte 3000"),
    _again("break-json=3000", "an invalid byte in the JSON", DecodeError, "byte 3000"),
    _again("envelope=3000", "an error envelope in the middle of the body", DecodeError, "byte"),
    _again("late-error=502", "an error reported after the rows, status 200", ApiError,
           "502.*half-way.*reported in a complete body"),
    _again("error-record=500", "an error in place of a record, status 200", ApiError, "500"),
    _again("error-line=503", "a newline-delimited body that ends with an error", ApiError, "503"),
    _again("error-body=429", "a rate limit reported in the body, status 200", RateLimited, "429"),
    _again("html", "an HTML page, status 200", TransportError, "Please sign in"),
    _again("count=1", "a wrong result_count", PageMismatch, "result_count"),
    _again("repeat-cursor", "a cursor that repeats an earlier one", PageMismatch, "loop"),
    _again("same-page", "the rows of the page before, under a new cursor", PageMismatch, "50 ids"),
    _fatal("expired-cursor", "an expired cursor", ApiError, "[(]restart[)]"),
]  # fmt: skip


def table() -> str:
    """Return the list as a table of markdown."""
    lines = [
        "| fault | what happens | once | every time | exit code |",
        "| --- | --- | --- | --- | --- |",
    ]
    for one in TROUBLES:
        ends = f"`{one.error.__name__}`" if one.error else one.once.value
        lines.append(f"| `{one.fault}` | {one.what} | {one.once} | {ends} | {one.exit_code} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
