"""Signs in a body: that the listing failed, that a line is an envelope, that a page follows.

Rules:
1. Truto documents nowhere how ``stream`` reports a failure half-way, so every sign of one counts:
   in Truto's own envelope ``statusCode`` of 400 or more, ``error``, ``errors``,
   ``truto_is_remote_error: true``, ``success: false``.
2. Elsewhere only a whole error report counts: a vendor's envelope without rows, or a record
   without ``id``, that has ``statusCode`` of 400 or more and ``error`` or ``message``; and whatever
   has ``truto_is_remote_error: true``.
3. A vendor names a further page in more ways than can be listed. A sign that is empty is none.
4. Records and members of more than a mebibyte are not searched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from streamlic.decoder.strict import Malformed, children, mend_surrogates

SEARCHED_BYTES: Final = 1 << 20
"""A record or a member that is longer is not searched for signs."""
RECORD_SIGNS: Final = frozenset({"statusCode", "truto_is_remote_error"})
"""The fields without which a record is no error report."""
FACTS: Final = frozenset({"next_cursor", "prev_cursor", "result_count", "is_partial_response"})
ENVELOPE_KEYS: Final = FACTS | {"result"}
"""What tells an envelope from a record."""
REPORT_MEMBERS: Final = RECORD_SIGNS | {
    *("error", "errors", "message", "details", "success"),
    *("raw_response", "truto_error_insight"),
}
"""What a report of a failure may say."""

_RECORD_MARKS = tuple(b'"%b"' % name.encode() for name in RECORD_SIGNS)
_ENVELOPE_MARKS = (b'"result', b'_cursor"', b'"is_partial_response"')
_SHOWN_CHARACTERS = 300
_MOST_LEVELS = 8
_MOST_ELEMENTS = 20
_NEXT = re.compile(r"next(?!.*(?:date|time|_at$|bill|renew|invoice|payment))", re.IGNORECASE)
_MORE_KEYS = frozenset({"hasmore", "more"})
_LAST_KEYS = frozenset({"islast", "last", "lastpage", "islastpage"})


class NoListing(Malformed):
    """The body is no list of records."""


class Reported(Malformed):
    """The body says, with these members, that the listing failed."""

    def __init__(self, members: dict[str, Any], index: int) -> None:
        super().__init__(failure_text(members), index)
        self.members = members


def may_be_report(text: bytes) -> bool:
    """Return whether these bytes of one record or several may hold a report of a failure."""
    return any(mark in text for mark in _RECORD_MARKS)


def report_of(record: bytes) -> dict[str, Any] | None:
    """Return what a valid record says of a failure, None for a record of data."""
    if record[:1] != b"{" or len(record) > SEARCHED_BYTES or not may_be_report(record):
        return None
    has_id, members = False, {}
    for key, start, end in children(record, 0):
        if key == "id":
            has_id = record[start:end] != b"null"
        elif key in REPORT_MEMBERS:
            members[str(key)] = value_of(record[start:end])
    is_report = _is_error(members) or members.get("truto_is_remote_error") is True
    return members if is_report and not has_id else None


def reports_failure(members: Mapping[str, Any], *, is_trutos: bool, has_rows: bool) -> bool:
    """Return whether an envelope with these members says that the listing failed."""
    if members.get("truto_is_remote_error") is True:  # No vendor says so.
        return True
    if not is_trutos:
        return not has_rows and _is_error(members)
    return (
        _is_failed(members.get("statusCode"))
        or bool(members.get("error"))
        or bool(members.get("errors"))
        or members.get("success") is False
    )


def failure_text(members: Mapping[str, Any]) -> str:
    """Say in one line what a report of a failure says."""
    shown = ", ".join(f"{key} {json.dumps(value)}" for key, value in members.items())
    if len(shown) > _SHOWN_CHARACTERS:
        shown = shown[: _SHOWN_CHARACTERS - 3] + "..."
    return f"expected a listing, got a report that it failed: {shown},"


def may_be_envelope(line: bytes) -> bool:
    """Return whether a line may be an envelope, by its bytes alone."""
    return any(mark in line for mark in _ENVELOPE_MARKS)


def is_envelope(line: bytes) -> bool:
    """Return whether a line, a valid object, is an envelope: of rows, or of nothing but facts.

    A line with an ``id`` is a record, whatever else it holds.
    """
    is_known, has_fact, has_rows = True, False, False
    for key, start, _ in children(line, 0):
        if key == "id" and line[start] != 0x6E:
            return False
        has_rows = has_rows or (key == "result" and line[start] == 0x5B)
        has_fact = has_fact or key in ENVELOPE_KEYS
        is_known = is_known and (key in ENVELOPE_KEYS or key in REPORT_MEMBERS)
    return has_rows or (is_known and has_fact)


def next_link(path: tuple[str, ...], text: bytes) -> str | None:
    """Return the dotted path by which a vendor's member names a further page, None if it does not.

    ``path`` leads to the member, whose valid JSON is ``text``; nothing, where that is too long.
    """
    return _link_in(path, value_of(text), _MOST_LEVELS)


def value_of(text: bytes) -> Any:
    """Return a member's value; a text of dots for one that is not searched."""
    try:
        value: Any = json.loads(mend_surrogates(text), parse_int=_number) if text else "..."
    except RecursionError:
        value = "..."
    return value


def _number(digits: str) -> int | float:
    return int(digits) if len(digits) < 19 else float(digits)


def _is_failed(status: Any) -> bool:
    return isinstance(status, int | float) and not isinstance(status, bool) and status >= 400


def _is_error(members: Mapping[str, Any]) -> bool:
    says_why = members.get("error") or members.get("message")
    return _is_failed(members.get("statusCode")) and bool(says_why)


def _link_in(path: tuple[str, ...], value: Any, levels: int) -> str | None:
    key = path[-1]
    plain = key.lower().replace("_", "").replace("-", "")
    is_named = (
        (_NEXT.search(key) and _holds_something(value))
        or (plain in _MORE_KEYS and value is True)
        or (plain in _LAST_KEYS and value is False)
    )
    if is_named:
        return ".".join(step[:60] for step in path)
    if isinstance(value, list):
        links = value if len(value) <= _MOST_ELEMENTS else []
        is_listed = any(isinstance(one, dict) and _is_next_relation(one) for one in links)
        return ".".join([*(step[:60] for step in path), "next"]) if is_listed else None
    if isinstance(value, dict) and levels:
        for name, inner in value.items():
            found = _link_in((*path, name), inner, levels - 1)
            if found:
                return found
    return None


def _is_next_relation(link: Mapping[str, Any]) -> bool:
    """Return whether this is a link to the next page (RFC 8288), as JSON has it."""
    return link.get("rel") == "next" and bool(link.get("href"))


def _holds_something(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_something, value.values()))
    if isinstance(value, list):
        return any(map(_holds_something, value))
    return bool(value)
