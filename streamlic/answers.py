"""What an error answer says: whose fault it is, and what helps, in one line.

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
)
from streamlic.pacing import retry_after_seconds

_RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})
_TEXT_CHARACTERS = 300
_OPTIONS = {"product": "--product", "organization_id": "--organization-id", "limit": "--limit"}


def api_error(
    status: int, headers: Mapping[str, str], body: bytes, *, account: str, now: datetime
) -> ApiError:
    """Return the error that an answer of this status means. ``headers`` have lower-case names."""
    envelope = _object(body)
    insight = envelope.get("truto_error_insight")
    insight = insight if isinstance(insight, dict) else {}
    message = one_line(envelope.get("message") or envelope.get("error") or "")
    if not message and not envelope:
        message = one_line(body[:_TEXT_CHARACTERS].decode(errors="replace"))
    is_remote = envelope.get("truto_is_remote_error") is True
    fault = _fault(status, is_remote=is_remote)
    is_blocked = status == 503 and "blocked" in f"{message} {json.dumps(insight)}".lower()
    kind = _kind(status, is_remote=is_remote, is_blocked=is_blocked)
    says = f": {message}" if message else ""
    parts = [f"{_status_text(status)} for account {account}{says}", *_insights(insight)]
    advice = _advice(kind, status, fault)
    return kind(
        "; ".join([*parts, advice] if advice else parts),
        status=status,
        message=message,
        insight=insight,
        fault=fault,
        retryable=status in _RETRYABLE and not is_blocked,
        retry_after_seconds=retry_after_seconds(headers, now, is_rate_limit=status == 429),
    )


def one_line(value: Any) -> str:
    """Return a server's text as one line of bounded length, without control characters."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", text).strip()
    return text if len(text) <= _TEXT_CHARACTERS else text[: _TEXT_CHARACTERS - 3] + "..."


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _fault(status: int, *, is_remote: bool) -> Fault:
    if is_remote:
        return Fault.VENDOR
    return Fault.TRUTO if status >= 500 else Fault.REQUEST


def _kind(status: int, *, is_remote: bool, is_blocked: bool) -> type[ApiError]:
    if status == 401:
        return AccountNeedsReauth if is_remote else AuthenticationError
    if status == 429:
        return RateLimited
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
            options = [_OPTIONS.get(str(name), f"--query {name}=...") for name in names]
            shown = ", ".join(one_line(name) for name in names)
            texts.append(f"missing {shown}: give {' and '.join(options)}")
        elif key == "forbidden_error" and isinstance(value, dict) and value.get("missing_scopes"):
            texts.append(f"missing scopes: {one_line(value['missing_scopes'])}")
        elif key != "conditionally_required_query_parameters":
            described = entry.get("description") if isinstance(entry, dict) else None
            texts.append(f"{one_line(key)}: {one_line(described or value)}")
    return texts


def _advice(kind: type[ApiError], status: int, fault: Fault) -> str:
    if kind is AuthenticationError:
        return "the token is wrong or expired: set TRUTO_API_TOKEN or give --token-file"
    if kind is AccountNeedsReauth:
        return "the account has to be connected again by its owner"
    if kind is AccountBlocked:
        return "the account is blocked in Truto"
    if status == 404:
        return "the account is unknown, or not visible to this token"
    if fault is Fault.VENDOR:
        return "the remote provider answered so"
    return "Truto itself failed" if fault is Fault.TRUTO else ""
