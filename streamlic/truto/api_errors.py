"""Turns error responses into errors: whose fault, which class, and what helps. Pure.

Source: Truto's error envelope ``{"statusCode", "error", "message"}`` with ``truto_is_remote_error``
and ``truto_error_insight``, and its table of statuses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

from streamlic.errors import (
    AccountBlocked,
    AccountNeedsReauth,
    ApiError,
    AuthenticationError,
    Fault,
    RateLimited,
    ReportedFailure,
)
from streamlic.truto.wait_headers import has_plausible_wait, is_used_up, retry_after_seconds

_FAILED_WITHOUT_STATUS = 502


_MAY_BE_TRANSIENT = frozenset({408, 425, 429})
"""Statuses from 400 to 499 that may be transient: from the vendor, Truto and proxies alike."""


_NEVER_A_LIMIT = frozenset({400, 401, 404})
"""Statuses that are never a rate limit, even with Retry-After: they have a meaning of their own."""


_LIMIT_USED_UP = frozenset({403, 420, 429})
"""Statuses that are a rate limit if ``ratelimit-remaining`` is 0."""


_BLOCKED = re.compile(r"\baccount\b(\s+\S+){0,4}\s+blocked\b|\bblocked\s+(integrated\s+)?account\b")


_TEXT_CHARACTERS = 300


_INSIGHT_CHARACTERS = 600


_TRUTOS_NAMES = frozenset(
    {
        *("statusCode", "error", "message", "details", "raw_response"),
        *("truto_is_remote_error", "truto_error_insight", "description", "value"),
        *("missing_required_query_parameters", "conditionally_required_query_parameters"),
        *("rate_limit_error", "forbidden_error", "missing_scopes", "remote_error"),
    }
)


_PARAMETERS = frozenset({"product", "organization_id", "limit"})
"""Query parameters that are parameters of a request, by the same name. Others go in ``query``."""


def api_error(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    account: str,
    token: str,
    now: datetime,
) -> ApiError:
    """Return the error for a response with this status. Its text never contains ``token``.

    Names of ``headers`` are case-insensitive. ``body`` may be only the start of one. ``account``
    is empty if the request was not about an account.
    """
    members = _object(body, token)
    is_trutos = is_error_envelope(members)
    insight = members.get("truto_error_insight")
    insight = insight if isinstance(insight, dict) else {}
    is_remote = members.get("truto_is_remote_error") is True
    said = members.get("message") or (is_remote and members.get("raw_response"))
    message = one_line(said or members.get("error") or "")
    if not message and not members:
        message = one_line(body.decode(errors="replace"), hide=token)
    reasons = f"{message} {json.dumps(insight)}".lower()
    is_blocked = status == 503 and is_trutos and not is_remote and bool(_BLOCKED.search(reasons))
    is_limit = not is_blocked and _is_rate_limit(status, headers, insight, now)
    fault = _fault(status, is_remote=is_remote, is_trutos=is_trutos)
    kind = _kind(status, is_remote=is_remote, is_blocked=is_blocked, is_limit=is_limit)
    says = f": {message}" if message else ""
    details = one_line("; ".join(_insights(insight)), most=_INSIGHT_CHARACTERS)
    of_account = f" for account {account}" if account else ""
    first = f"{_status_text(status)}{of_account}{says}"
    return kind(
        "; ".join(part for part in (first, details, _advice(kind, status, fault, account)) if part),
        status=status,
        message=message,
        insight=insight,
        fault=fault,
        retryable=not _lacks_scopes(status, insight)
        and (is_limit or _is_retryable(kind, status, is_trutos=is_trutos)),
        retry_after_seconds=retry_after_seconds(headers, now, is_rate_limit=is_limit),
        parameter="token" if kind is AuthenticationError else _missing_parameter(insight),
    )


def is_error_envelope(members: Mapping[str, Any]) -> bool:
    """Return whether a JSON object is an error in Truto's own form.

    That is a ``statusCode`` with ``error`` or ``message``, or a member that only Truto sends. Only
    such an error certainly concerns the account.
    """
    if members.get("truto_is_remote_error") is True or members.get("truto_error_insight"):
        return True
    return type(members.get("statusCode")) is int and bool(
        members.get("error") or "message" in members
    )


def reported_failure(
    error: ReportedFailure, headers: Mapping[str, str], *, account: str, token: str, now: datetime
) -> ApiError:
    """Return the error that a complete body with status 200 reports, as for a response like it.

    ``headers`` are those of the response. A report without a valid status counts as a 502.
    """
    members = dict(error.members)
    statuses: list[Any] = [members.get("statusCode"), members.get("status"), _FAILED_WITHOUT_STATUS]
    status = next(one for one in statuses if _is_failed(one))
    if not (members.get("message") or members.get("error")):
        members["error"] = members.get("errors")
    failed = api_error(
        int(status),
        headers,
        json.dumps(members).encode(),
        account=account,
        token=token,
        now=now,
    )
    text = f"{failed.described()}; reported in a complete body"
    if isinstance(failed, AuthenticationError):
        # The token was accepted for this response. If it is refused now, the next response says so.
        return ApiError(text, status=failed.status, message=failed.message,
                        insight=failed.insight, fault=failed.fault, retryable=True)  # fmt: skip
    failed.args = (text,)
    return failed


def _is_failed(status: Any) -> bool:
    """Return whether this is the number of an HTTP error."""
    is_number = isinstance(status, int | float)
    return bool(is_number and 400 <= status <= 599 and status == int(status))


def one_line(value: Any, *, hide: str = "", most: int = _TEXT_CHARACTERS) -> str:
    """Return a server's text as one line of at most ``most`` characters, fit for any terminal.

    A value that is not a string is shown as JSON. ``hide`` is replaced by asterisks, also in its
    JSON escapes. Characters that cannot be printed become blanks: control characters, those that
    change the writing direction, and surrogates, which cannot be encoded.
    """
    is_text = isinstance(value, str)
    text = value if is_text else json.dumps(value, ensure_ascii=False)
    hidden = hide if is_text else json.dumps(hide)[1:-1]
    text = text.replace(hidden, "***") if hide else text
    text = text[: 8 * most]
    if not text.isprintable():
        text = "".join(one if one.isprintable() else " " for one in text)
    text = re.sub(r"\s+", " ", text).strip()
    return text if len(text) <= most else text[: most - 3] + "..."


def _object(body: bytes, token: str) -> dict[str, Any]:
    """Read the envelope, with the token redacted wherever it is, and however escaped."""
    try:
        value = json.loads(body)
        return _hidden(value, token) if isinstance(value, dict) else {}
    except (ValueError, RecursionError):
        return {}


def _hidden(value: Any, token: str) -> Any:
    """Return a JSON value without the token. Truto's own names stay: a token may be one letter."""
    if isinstance(value, str):
        return value.replace(token, "***") if token else value
    if isinstance(value, list):
        return [_hidden(one, token) for one in value]
    if isinstance(value, dict):
        return {
            key if key in _TRUTOS_NAMES else _hidden(key, token): _hidden(one, token)
            for key, one in value.items()
        }
    return value


def _is_rate_limit(
    status: int, headers: Mapping[str, str], insight: dict[str, Any], now: datetime
) -> bool:
    """Return whether an error is a rate limit. Vendors use many statuses for it."""
    if _lacks_scopes(status, insight):
        return False
    entry = insight.get("rate_limit_error", False)
    if (entry.get("value", True) if isinstance(entry, dict) else entry) is not False:
        return True
    if status == 429:
        return True
    if not 400 <= status <= 599 or status in _NEVER_A_LIMIT:
        return False
    if has_plausible_wait(headers, now):
        return True
    return status in _LIMIT_USED_UP and is_used_up(headers)


def _lacks_scopes(status: int, insight: dict[str, Any]) -> bool:
    """Return whether the account lacks a scope. Then a retry cannot help."""
    return status != HTTPStatus.TOO_MANY_REQUESTS and bool(_missing_scopes(insight))


def _is_retryable(kind: type[ApiError], status: int, *, is_trutos: bool) -> bool:
    """Return whether the same request may succeed later, given its kind and status.

    Only Truto itself can say that an account needs a change. Any other response comes from a proxy,
    a firewall, a gateway or a login page, and a retry may reach the API.
    """
    if kind in (AuthenticationError, AccountNeedsReauth, AccountBlocked):
        return False
    if not is_trutos or status in _MAY_BE_TRANSIENT:
        return True
    return status >= 500 and status != HTTPStatus.NOT_IMPLEMENTED


def _fault(status: int, *, is_remote: bool, is_trutos: bool) -> Fault:
    if is_remote:
        return Fault.VENDOR
    if not is_trutos and status != HTTPStatus.UNAUTHORIZED:
        return Fault.UNKNOWN
    return Fault.TRUTO if status >= 500 else Fault.REQUEST


def _kind(status: int, *, is_remote: bool, is_blocked: bool, is_limit: bool) -> type[ApiError]:
    if is_limit:
        return RateLimited
    if status == 401:
        return AccountNeedsReauth if is_remote else AuthenticationError
    return AccountBlocked if is_blocked else ApiError


def _status_text(status: int) -> str:
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


def _insights(insight: dict[str, Any]) -> list[str]:
    texts = []
    for key, entry in insight.items():
        value = entry.get("value") if isinstance(entry, dict) else entry
        if key == "missing_required_query_parameters":
            names = value if isinstance(value, list) else [value]
            texts.append(f"missing {', '.join(one_line(name) for name in names)}")
        elif key == "forbidden_error" and (scopes := _missing_scopes(insight)):
            texts.append(f"missing scopes: {one_line(scopes)}")
        elif key != "conditionally_required_query_parameters":
            described = entry.get("description") if isinstance(entry, dict) else None
            texts.append(f"{one_line(key)}: {one_line(described or value)}")
    return texts


def _missing_parameter(insight: dict[str, Any]) -> str | None:
    """Return the request's parameter for a query parameter that the API says is missing."""
    entry = insight.get("missing_required_query_parameters")
    value = entry.get("value") if isinstance(entry, dict) else entry
    names = value if isinstance(value, list) else [value]
    if names == [None]:
        return None
    return str(names[0]) if names and names[0] in _PARAMETERS else "query"


def _missing_scopes(insight: dict[str, Any]) -> Any:
    entry = insight.get("forbidden_error")
    value = entry.get("value") if isinstance(entry, dict) else entry
    return value.get("missing_scopes") if isinstance(value, dict) else None


def _advice(kind: type[ApiError], status: int, fault: Fault, account: str) -> str:
    if kind is AuthenticationError:
        return "the token is wrong or expired: set TRUTO_API_TOKEN or give a token file"
    if kind is AccountNeedsReauth:
        return "the owner must connect the account again"
    if kind is AccountBlocked:
        return "the account is blocked in Truto"
    if fault is Fault.UNKNOWN:
        if kind is RateLimited:
            return ""
        return "the response is not in Truto's format: did a proxy or gateway send it?"
    if status == 404 and account:
        return "the account is unknown, or not visible to this token"
    if fault is Fault.VENDOR:
        return "the remote provider returned this error"
    return "Truto itself failed" if fault is Fault.TRUTO else ""
