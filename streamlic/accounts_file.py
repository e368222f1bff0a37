"""Accounts from a file: ids, CSV or JSON lines, each with its own request options if it has any.

Rules:
1. The first line that is no comment tells the kind: ``{`` begins JSON lines; a header that names an
   account column begins CSV; anything else is one id a line.
2. What a line leaves out, or leaves empty, is as the command says for all.
3. Every bad line is told with its number before anything is asked.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from streamlic.errors import UsageError
from streamlic.request import LicensesRequest, parse_remote_query, split_assignment

_ACCOUNT_NAMES = ("account", "integrated_account_id", "id")
_TEXTS = ("product", "organization_id", "key_by")
_FLAGS = ("ignore_limit", "ignore_remote_data")
_OPTIONS = (*_TEXTS, *_FLAGS, "limit", "exclude_fields", "remote_query", "query")
_SHOWN_PROBLEMS = 5


def read_accounts(
    lines: Iterable[str], shared: LicensesRequest, where: str
) -> list[LicensesRequest]:
    """Return the requests that a file's lines name, each ``shared`` but for what its line says.

    ``where`` is what messages call the file. Raises UsageError that lists bad lines and repeated
    accounts by their numbers, and where there is no account at all.
    """
    requests: list[LicensesRequest] = []
    problems: list[str] = []
    first_at: dict[str, int] = {}
    for number, given in _records(lines, where):
        try:
            request = _request(given, shared)
        except UsageError as error:
            problems.append(f"line {number}: {error}")
            continue
        if request.account in first_at:
            problems.append(
                f"line {number}: account {request.account} stands in line "
                f"{first_at[request.account]} already"
            )
        first_at.setdefault(request.account, number)
        requests.append(request)
    if problems:
        more = len(problems) - _SHOWN_PROBLEMS
        shown = [*problems[:_SHOWN_PROBLEMS], *([f"and {more:,} more"] if more > 0 else [])]
        raise UsageError(f"{where}: {'; '.join(shown)} (--accounts-file)")
    if not requests:
        raise UsageError(f"{where} names no account (--accounts-file)")
    return requests


def _records(lines: Iterable[str], where: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Yield each line's number with its object, or with what is wrong with it."""
    numbered = ((number, line.strip("\ufeff \t\r\n")) for number, line in enumerate(lines, start=1))
    told = ((number, line) for number, line in numbered if line and not line.startswith("#"))
    first = next(told, None)
    if first is None:
        return
    number, line = first
    if line.startswith("{"):
        yield number, _object(line)
        yield from ((number, _object(line)) for number, line in told)
        return
    header = [name.strip().lower() for name in _cells(line)]
    if any(name in _ACCOUNT_NAMES for name in header):
        _check_header(header, where, number)
        yield from ((number, _row(header, line)) for number, line in told)
    else:
        yield number, {"account": line}
        yield from ((number, {"account": line}) for number, line in told)


def _object(line: str) -> dict[str, Any] | str:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"no JSON: {error}"
    return value if isinstance(value, dict) else "expected a JSON object"


def _cells(line: str) -> list[str]:
    """Return a line's cells, none where it is no CSV."""
    try:
        return next(csv.reader([line]))
    except csv.Error:
        return []


def _row(header: list[str], line: str) -> dict[str, Any] | str:
    cells = _cells(line)
    if not cells:
        return "expected CSV, got a line that is none"
    if len(cells) != len(header):
        return f"expected {len(header)} cells, got {len(cells)}"
    return dict(zip(header, cells, strict=True))


def _check_header(header: list[str], where: str, number: int) -> None:
    unknown = [name for name in header if name not in (*_ACCOUNT_NAMES, *_OPTIONS)]
    if unknown or len(set(header)) != len(header):
        raise UsageError(
            f"{where}: line {number}: expected a header of account, {', '.join(_OPTIONS)}, each "
            f"once, got {', '.join(header)[:200]} (--accounts-file)"
        )


def _request(given: Mapping[str, Any] | str, shared: LicensesRequest) -> LicensesRequest:
    if isinstance(given, str):
        raise UsageError(given)
    named = {name: value for name, value in given.items() if value not in (None, "")}
    accounts = [str(named.pop(name)) for name in _ACCOUNT_NAMES if name in named]
    if len(accounts) != 1:
        raise UsageError("expected one account (account)")
    changes = {name: _value(name, value) for name, value in named.items()}
    return replace(shared, account=accounts[0].strip(), **changes)


def _value(name: str, value: Any) -> Any:
    """Return an option's value, read from a cell's text or as JSON has it."""
    if name in _TEXTS and isinstance(value, str):
        return value.strip()
    if name in _FLAGS and (isinstance(value, bool) or value in ("true", "false")):
        return value in (True, "true")
    if name == "limit" and _is_whole(value):
        return int(value)
    if name == "exclude_fields":
        fields = value.split() if isinstance(value, str) else value
        if isinstance(fields, list) and all(isinstance(one, str) for one in fields):
            return tuple(fields)
    if name == "remote_query":
        return dict(value) if isinstance(value, dict) else parse_remote_query(_split(name, value))
    if name == "query":
        if isinstance(value, dict) and all(isinstance(one, str) for one in value.values()):
            return tuple(value.items())
        return tuple(split_assignment(one, "query") for one in _split(name, value))
    if name not in _OPTIONS:
        raise UsageError(f"unknown option {name[:60]!r}: expected {', '.join(_OPTIONS)}")
    raise UsageError(f"{name}: got {str(value)[:60]!r}")


def _is_whole(value: Any) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"\s*[0-9]{1,18}\s*", value) is not None
    return isinstance(value, int) and not isinstance(value, bool)


def _split(name: str, value: Any) -> list[str]:
    if not isinstance(value, str):
        raise UsageError(f"{name}: got {str(value)[:60]!r}")
    return value.split("&")
