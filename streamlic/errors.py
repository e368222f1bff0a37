"""All errors, grouped by cause: the caller, the API, the data, the network, the machine, the disk.

A message says what was expected, what came, and where. No message holds the token. What helps is
apart from the message, because it names parameters: the command line spells them as options, Python
as arguments. ``exit_code`` is the exit code of the command line.
"""

from __future__ import annotations

import copyreg
import pickle
import re
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Self

RETRY_CAN_HELP = 1
NO_RETRY_HELPS = 6

Spelling = Callable[[str, str], str]
"""How a face spells a parameter and its value, "" for no value."""

_NAMED = re.compile(r"\{(\w+)(?:=(\w+))?\}")


def argument_of(parameter: str, value: str = "") -> str:
    """Return a parameter as Python spells it: ``rows_at``, ``mode="append"``, ``restart=True``."""
    if not value:
        return parameter
    return f"{parameter}={value}" if value in ("True", "False") else f'{parameter}="{value}"'


def described(message: str, parameter: str | None, spelling: Spelling) -> str:
    """Return an error's message, followed by its parameter in brackets if it has one."""
    return f"{message} ({spelling(parameter, '')})" if parameter else message


class StreamlicError(Exception):
    """The base of every error that streamlic raises on purpose.

    Each pickles and copies with all its attributes, so that a worker process can hand it to its
    parent. An attribute that does not pickle, such as a lock, arrives as its ``repr``.
    """

    exit_code = RETRY_CAN_HELP
    parameter: str | None = None
    """The Python name of the parameter that the error is about, or that helps: ``rows_at``."""
    advice: str = ""
    """What helps, with parameters in braces: ``add to it with {mode=append}``."""

    def __init__(self, *args: object, parameter: str | None = None, advice: str = "") -> None:
        super().__init__(*args)
        if parameter is not None:
            self.parameter = parameter
        if advice:
            self.advice = advice

    def __str__(self) -> str:
        return self.with_advice(argument_of)

    def described(self, spelling: Spelling | None = None) -> str:
        """Return the message, followed by its parameter in brackets.

        ``spelling`` spells the parameter. Without it, the parameter is left out.
        """
        message = super().__str__()
        return described(message, self.parameter, spelling) if spelling else message

    def with_advice(self, spelling: Spelling) -> str:
        """Return the message, its parameter in brackets, and the advice: all that the error says.

        The command line spells parameters as options (``--mode append``).
        """
        text = self.described(spelling)
        advice = self.spelled_advice(spelling)
        return f"{text}; {advice}" if advice else text

    def spelled_advice(self, spelling: Spelling) -> str:
        """Return the advice alone, with its parameters spelled; empty if there is none."""
        return _NAMED.sub(lambda named: spelling(named[1], named[2] or ""), self.advice)

    def __copy__(self) -> Self:
        """Return an error with the very attributes of this one."""
        copied = type(self).__new__(type(self), *self.args)
        vars(copied).update(vars(self))
        return copied

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to make this error again: without ``__init__``, which takes other arguments.

        Where an unpickler fails, ``multiprocessing.Pool`` waits for its result for ever.
        """
        state = {name: _portable(value) for name, value in vars(self).items()}
        return copyreg.__newobj__, (type(self), *map(_portable, self.args)), state  # type: ignore[attr-defined]


def _portable(value: object) -> object:
    """Return the value, or its ``repr`` where it cannot leave this process."""
    try:
        pickle.loads(pickle.dumps(value))  # noqa: S301  (what was pickled right here)
    except Exception:  # noqa: BLE001  (a foreign object raises what it likes)
        return repr(value)
    return value


# The caller's fault


class UsageError(StreamlicError):
    """The caller asked for something impossible; nothing was sent and nothing was written."""

    exit_code = 2


class DatasetConflict(UsageError):
    """The destination holds something that this run must not touch unless an option says so."""


# The API's fault, or its vendor's


class Fault(StrEnum):
    """Who has to act on an error of the API."""

    REQUEST = "request"
    """The request itself: parameters, permissions, token."""
    TRUTO = "truto"
    """Truto's own service."""
    VENDOR = "vendor"
    """The remote provider of the integrated account."""
    UNKNOWN = "unknown"
    """Unknown: the response is not in Truto's format. A proxy or gateway may have sent it."""


class ApiError(StreamlicError):
    """The API answered with an error.

    ``insight`` is Truto's ``truto_error_insight`` object, empty where there is none. ``retryable``
    and ``retry_after_seconds`` say whether and when the same request may be sent again. Where it
    may not, ``exit_code`` is 6, unless the kind of error has one of its own.
    """

    def __init__(
        self,
        text: str,
        *,
        status: int,
        message: str = "",
        insight: dict[str, Any] | None = None,
        fault: Fault = Fault.REQUEST,
        retryable: bool = False,
        retry_after_seconds: float | None = None,
        parameter: str | None = None,
    ) -> None:
        super().__init__(text, parameter=parameter)
        self.status = status
        self.message = message
        self.insight = insight or {}
        self.fault = fault
        self.retryable = retryable
        if self.exit_code == RETRY_CAN_HELP and not retryable:
            self.exit_code = NO_RETRY_HELPS
        self.retry_after_seconds = retry_after_seconds


class RateLimited(ApiError):
    """Too many requests (RFC 6585, section 4), and the attempts are used up."""


class AuthenticationError(ApiError):
    """The token is missing, wrong or expired."""

    exit_code = 4


class AccountNeedsReauth(ApiError):
    """The account's owner must connect it again; no retry can help."""

    exit_code = 4


class AccountBlocked(ApiError):
    """The account is blocked in Truto; no retry can help."""

    exit_code = 4


# The data's fault


class DecodeError(StreamlicError):
    """The body is not what it must be, at byte ``position`` (from 0, after decompression).

    ``path`` leads there (``result[1204].products[2]``), empty for the body itself. ``reason`` is
    the sentence without the place.
    """

    exit_code = 5

    def __init__(
        self,
        reason: str,
        *,
        position: int,
        path: str = "",
        parameter: str | None = None,
        advice: str = "",
    ) -> None:
        place = f"{path or 'the top of the body'} (byte {position})"
        super().__init__(f"{reason} at {place}", parameter=parameter, advice=advice)
        self.reason = reason
        self.position = position
        self.path = path


class TruncatedBody(DecodeError):
    """The body ended before its JSON was complete."""


class LimitExceeded(DecodeError):
    """The body goes beyond ``max_record_bytes`` or ``max_depth``."""


class NotAListing(DecodeError):
    """The body is not a list of records: not an object or array, or an object without rows.

    A proxy between the client and the API may have answered, so a retry can help.
    """


class ReportedFailure(DecodeError):
    """The body is complete and says that the listing failed, in its envelope or in a record.

    ``members`` holds what it says, by the names of Truto's error envelope: ``statusCode``,
    ``error``, ``message``, ``truto_is_remote_error`` and the like. No row of the body counts.
    """

    def __init__(
        self, reason: str, *, position: int, path: str = "", members: dict[str, Any] | None = None
    ) -> None:
        super().__init__(reason, position=position, path=path)
        self.members = members or {}


class RescueError(DecodeError):
    """A value does not fit its column, or has none, and rescuing it was forbidden (``strict``)."""


class PageMismatch(StreamlicError):
    """A page contradicts itself or the pages before it: a count, a cursor, a repeated page."""

    exit_code = 5


class ListingTooLarge(StreamlicError):
    """A listing or a body exceeds a limit of the caller: ``Limits`` of pages, records or bytes.

    ``LimitExceeded`` is another error: one record is too large or nested too deep to decode.
    """

    exit_code = 5


class TooManyAbsent(StreamlicError):
    """More accounts cannot be read now than the caller accepts (``max_absent``)."""

    exit_code = NO_RETRY_HELPS


class IntegrityError(StreamlicError):
    """A dataset is not what its commit log promises."""

    exit_code = 5


# The network's fault


class TransportError(StreamlicError):
    """No complete response arrived: refused, reset, silent, too slow, or truncated.

    ``retryable`` is false if a retry cannot help, as with an invalid certificate; ``exit_code`` is
    then 6.
    """

    def __init__(self, text: str, *, retryable: bool = True, parameter: str | None = None) -> None:
        super().__init__(text, parameter=parameter)
        self.retryable = retryable
        if not retryable:
            self.exit_code = NO_RETRY_HELPS


class PermitsUnavailable(StreamlicError):
    """A permit server gives no permits: it cannot be reached, or refuses the key."""


# The machine's fault


class MachineError(StreamlicError):
    """The system gives this process less than a run needs: too few threads, or open files."""


class TaskFailed(StreamlicError):
    """A task of an engine that distributes work, such as Spark, failed in each of its attempts."""


# The disk's fault


class StoreError(StreamlicError):
    """The destination could not be read or written."""
