"""Signs in a body that the listing failed, that a line is an envelope, or that a page follows.

Rules:
1. Truto does not document how ``stream`` reports a failure half-way, so every sign counts: in
   Truto's own envelope ``statusCode`` of 400 or more, ``error``, ``errors``,
   ``truto_is_remote_error: true``, ``success: false``.
2. Elsewhere only a complete error report counts: ``statusCode`` of 400 or more with ``error`` or
   ``message``, or all that Spring's servers send (``status`` of 400 or more, ``error``, ``path``
   and ``timestamp``), in a vendor's envelope without rows, in a record without ``id``, or in an
   object in place of the rows; and ``truto_is_remote_error: true`` anywhere.
3. In a record without ``id`` and without a value for any column, ``error`` with ``message`` is
   enough, or ``success: false``. This does not hold for a record that is kept whole.
4. A ``statusCode`` may be a number or a string of digits.
5. Vendors name a further page in more ways than can be listed. An empty value is not a sign.
6. A member of more than a mebibyte is cut: only the start of a string is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from streamlic.decoder.scanner import Malformed, PathStep, children, mend_surrogates

SEARCHED_BYTES: Final = 1 << 20
"""A longer member is cut: only the start of a string is kept."""
RECORD_SIGNS: Final = frozenset({"statusCode", "truto_is_remote_error"})
"""An error report has at least one of these fields."""
FACTS: Final = frozenset({"next_cursor", "prev_cursor", "result_count", "is_partial_response"})
ENVELOPE_KEYS: Final = FACTS | {"result"}
"""The keys that distinguish an envelope from a record."""
_SHARED_MEMBERS = frozenset({"limit"})
"""Keys that both an envelope and a record may have."""
_TRUTOS_MEMBERS = RECORD_SIGNS | {
    *("error", "errors", "message", "details", "success"),
    *("raw_response", "truto_error_insight"),
}
_SPRINGS_MEMBERS = frozenset({"status", "error", "path", "timestamp"})
"""Source: Spring Boot's ``DefaultErrorAttributes``, whose JSON its servers send by default."""
REPORT_MEMBERS: Final = _TRUTOS_MEMBERS | _SPRINGS_MEMBERS
"""The members of a failure report."""

_LINE_MEMBERS = ENVELOPE_KEYS | _SHARED_MEMBERS | _TRUTOS_MEMBERS
_SURE_MARKS = tuple(b'"%b"' % name.encode() for name in RECORD_SIGNS)
_SPRINGS_MARKS = tuple(b'"%b"' % name.encode() for name in _SPRINGS_MEMBERS)
_RAW_MARKS = (*_SURE_MARKS, b'"error"')
_MARKS = (*_RAW_MARKS, b'"success"')
_FIRST_MEMBER = re.compile(rb'\{[ \t\n\r]*+"([^"\\]*+)"[ \t\n\r]*+:[ \t\n\r]*+(?!null|[ \t\n\r])')
_STATUS = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18})?")
_TEXT_START = re.compile(rb'"(?:[^"\\\x80-\xbf][\x80-\xbf]*+|\\(?:u.{4}|.)){0,1000}+', re.DOTALL)
_ENVELOPE_MARKS = (b'"result', b'_cursor"', b'"is_partial_response"')
_SHOWN_CHARACTERS = 300
_MOST_LEVELS = 8
_MOST_ELEMENTS = 20
_NEXT = re.compile(r"next(?!.*(?:date|time|_at$|bill|renew|invoice|payment))", re.IGNORECASE)
_MORE_KEYS = frozenset({"hasmore", "more"})
_LAST_KEYS = frozenset({"islast", "last", "lastpage", "islastpage"})


class NoListing(Malformed):
    """The body is not a list of records."""


class Reported(Malformed):
    """The body reports with these members that the listing failed."""

    def __init__(self, members: dict[str, Any], index: int) -> None:
        super().__init__(failure_text(members), index)
        status = status_of(members.get("statusCode"))
        self.members = members if status is None else {**members, "statusCode": status}


class Report:
    """Reads an object that may be a failure report, member by member.

    ``columns`` are the fields of data records, None if they may have any. ``are_rows``: the members
    are rows under their keys, so a member that is an object is a record.
    """

    def __init__(
        self, columns: frozenset[str] | None, *, are_rows: bool = False, is_data: bool = False
    ) -> None:
        self._columns = columns
        self._are_rows = are_rows
        self._members: dict[str, Any] = {}
        self._has_id = False
        self._is_data = is_data or columns is None

    def concerns(self, key: PathStep) -> bool:
        """Return whether the value of this member matters."""
        return key == "id" or key in REPORT_MEMBERS or key in (self._columns or ())

    def take(self, key: PathStep, text: bytes, start: int, end: int) -> None:
        """Read the member with this valid JSON in ``text``; the last of a repeated key counts."""
        holds = text[start] != 0x6E and not (self._are_rows and text[start] == 0x7B)
        if key == "id":
            self._has_id = holds
        if holds and (key == "id" or key in (self._columns or ())):
            self._is_data = True
        if key in REPORT_MEMBERS:
            self._members[str(key)] = value_of(shortened(text, start, end))

    def failure(self) -> dict[str, Any] | None:
        """Return the members of the report, None if the object is not a failure report."""
        said = self._members
        is_springs = "error" not in (self._columns or ()) and _is_springs_error(said)
        is_sure = _is_error(said) or said.get("truto_is_remote_error") is True or is_springs
        is_report = is_sure or (not self._is_data and self._seems_failed())
        return said if is_report and not self._has_id else None

    def _seems_failed(self) -> bool:
        said = self._members
        if said.get("success") is False:
            return True
        are_records = self._are_rows and any(
            isinstance(said.get(name), dict) for name in ("error", "message")
        )
        return bool(said.get("error")) and "message" in said and not are_records


def may_be_report(text: bytes, columns: frozenset[str] | None) -> bool:
    """Return whether these bytes of one or more records may contain a failure report."""
    marks = _RAW_MARKS if columns is None else _MARKS
    return any(mark in text for mark in marks)


def report_of(
    record: bytes,
    columns: frozenset[str] | None,
    *,
    are_rows: bool = False,
    is_data: bool = False,
) -> dict[str, Any] | None:
    """Return the members of a valid record's failure report, None for a data record.

    ``is_data`` says that it has a value for a column, though ``record`` may lack that member.
    """
    report = Report(columns, are_rows=are_rows, is_data=is_data)
    if record[:1] == b"{":
        for key, start, end in children(record, 0):
            report.take(key, record, start, end)
    return report.failure()


def is_surely_data(record: bytes, columns: frozenset[str] | None) -> bool:
    """Return whether a record is certainly data, by a quick look at its first member."""
    if b"\\u" in record or any(mark in record for mark in _SURE_MARKS):
        return False
    if all(mark in record for mark in _SPRINGS_MARKS):
        return False
    first = _FIRST_MEMBER.match(record)
    return first is not None and (first[1] == b"id" or first[1].decode() in (columns or ()))


def reports_failure(members: Mapping[str, Any], *, is_trutos: bool, has_rows: bool) -> bool:
    """Return whether an envelope with these members reports a failure."""
    if members.get("truto_is_remote_error") is True:  # Only Truto sends this.
        return True
    if not is_trutos:
        return not has_rows and (_is_error(members) or _is_springs_error(members))
    return (
        _is_failed(members.get("statusCode"))
        or bool(members.get("error"))
        or bool(members.get("errors"))
        or members.get("success") is False
    )


def failure_text(members: Mapping[str, Any]) -> str:
    """Return a failure report in one line."""
    shown = ", ".join(f"{key} {json.dumps(value)}" for key, value in members.items())
    if len(shown) > _SHOWN_CHARACTERS:
        shown = shown[: _SHOWN_CHARACTERS - 3] + "..."
    return f"expected a listing, got a report that it failed: {shown},"


def may_be_envelope(line: bytes) -> bool:
    """Return whether a line may be an envelope, by its bytes alone."""
    return any(mark in line for mark in _ENVELOPE_MARKS)


def is_envelope(line: bytes) -> bool:
    """Return whether a line, a valid object, is an envelope: with rows, or with facts only.

    A line with an ``id`` is always a record.
    """
    is_known, has_fact, has_rows = True, False, False
    for key, start, _ in children(line, 0):
        if key == "id" and line[start] != 0x6E:
            return False
        has_rows = has_rows or (key == "result" and line[start] == 0x5B)
        has_fact = has_fact or key in ENVELOPE_KEYS
        is_known = is_known and key in _LINE_MEMBERS
    return has_rows or (is_known and has_fact)


def next_link(path: tuple[str, ...], text: bytes) -> str | None:
    """Return the dotted path with which a vendor's member names a further page, else None.

    ``path`` leads to the member; ``text`` is its valid JSON, empty if that is too long.
    """
    return _link_in(path, value_of(text), _MOST_LEVELS)


def value_of(text: bytes) -> Any:
    """Return a member's value, or dots if it was too long to keep."""
    try:
        value: Any = json.loads(mend_surrogates(text), parse_int=_number) if text else "..."
    except RecursionError:
        value = "..."
    return value


def shortened(text: bytes, start: int, end: int) -> bytes:
    """Return the valid JSON between; of a long string its start, of other long values nothing."""
    if end - start <= SEARCHED_BYTES:
        return text[start:end]
    kept_start = _TEXT_START.match(text, start)
    return kept_start[0] + b'..."' if kept_start else b""


def _number(digits: str) -> int | float:
    return int(digits) if len(digits) < 19 else float(digits)


def status_of(value: Any) -> float | None:
    """Return a status as a number, from a string as well; None if it is not one."""
    if isinstance(value, str):
        number = float(value) if _STATUS.fullmatch(value) else None
        return int(number) if number is not None and number.is_integer() else number
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _is_failed(status: Any) -> bool:
    number = status_of(status)
    return number is not None and number >= 400


def _is_error(members: Mapping[str, Any]) -> bool:
    says_why = members.get("error") or members.get("message")
    return _is_failed(members.get("statusCode")) and bool(says_why)


def _is_springs_error(members: Mapping[str, Any]) -> bool:
    """Return whether a server on Spring Boot sent this error. A vendor's own status is a text."""
    status = members.get("status")
    is_failed = not isinstance(status, str) and _is_failed(status)
    return is_failed and all(map(members.get, _SPRINGS_MEMBERS))


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
    """Return whether this is a link to the next page, as RFC 8288 defines it, in JSON."""
    return link.get("rel") == "next" and bool(link.get("href"))


def _holds_something(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_something, value.values()))
    if isinstance(value, list):
        return any(map(_holds_something, value))
    return bool(value)
