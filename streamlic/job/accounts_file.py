"""Accounts from a file: ids, CSV or JSON lines, with request options of their own.

Rules:
1. The first line, comments aside, decides the format: ``{`` starts JSON lines; a header with an
   account column, separated by commas, semicolons or tabs, starts CSV; else each line is an id.
2. A value that is missing or empty is taken from the request that all accounts share.
   ``integration`` and ``tenant_id`` become columns of the account's licenses. Other columns that
   only describe an account, as ``streamlic accounts`` writes them, are ignored.
3. All bad lines are reported with their numbers before any request is sent.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from streamlic.dataset.records import UNKNOWN, AccountDetails
from streamlic.errors import UsageError
from streamlic.resources.base import Kind
from streamlic.resources.licenses import LICENSES
from streamlic.system.text_files import decoded
from streamlic.truto.query import parse_remote_query, split_assignment
from streamlic.truto.request import LicensesRequest

CSV_COLUMNS = ("account", "integration", "tenant_id")
"""What ``streamlic accounts --csv`` writes of each readable account."""

_ACCOUNT_NAMES = ("account", "integrated_account_id", "account_id", "id")
_PARAMETERS = {one.name: one for one in LICENSES.parameters if not one.for_all_accounts}
_DESCRIPTIONS = frozenset(
    {"integration", "tenant", "tenant_id", "name", "status", "is_blocked", "readable"}
)
_SEPARATORS = ",;\t"
_TRUE = frozenset({"true", "yes", "1"})
_FALSE = frozenset({"false", "no", "0"})
_SHOWN_PROBLEMS = 5
_MOST_BYTES = 256 << 20


@dataclass(frozen=True)
class AccountsFile:
    """The accounts of a file: the request of each, and what the file says of some."""

    requests: list[LicensesRequest]
    details: dict[str, AccountDetails]


def read_accounts_file(path: str, shared: LicensesRequest) -> AccountsFile:
    """Return the accounts of the file at ``path``, as ``read_file`` does."""
    try:
        with Path(path).open("rb") as file:
            return read_file(file, shared, path)
    except OSError as error:
        raise _refused(f"{path} cannot be read: {error.strerror}") from error


def read_file(file: BinaryIO, shared: LicensesRequest, where: str) -> AccountsFile:
    """Return a file's accounts, as ``read_accounts`` does.

    The file is UTF-8, or UTF-16 or UTF-32 with a byte-order mark. Raises UsageError for any other,
    with what it looks like, and for more than 256 MiB.
    """
    data = file.read(_MOST_BYTES + 1)
    try:
        if len(data) > _MOST_BYTES:
            raise UsageError(
                f"more than {_MOST_BYTES >> 20} MiB is too large for a list of accounts"
            )
        text = decoded(data)
    except UsageError as error:
        raise _refused(f"{where}: {error.described()}") from error
    return read_accounts(io.StringIO(text, newline=None), shared, where)


def read_accounts(lines: Iterable[str], shared: LicensesRequest, where: str) -> AccountsFile:
    """Return a request for each line: ``shared``, changed by the options of the line.

    ``where`` is the file's name in messages. Raises UsageError that lists bad lines and repeated
    accounts by line number, or says that there is no account.
    """
    requests: list[LicensesRequest] = []
    details: dict[str, AccountDetails] = {}
    problems: list[str] = []
    first_at: dict[str, int] = {}
    for number, given in _records(lines, where):
        try:
            request = _request(given, shared)
        except UsageError as error:
            problems.append(f"line {number}: {error.described()}")
            continue
        if request.account in first_at:
            problems.append(
                f"line {number}: account {request.account} is already in line "
                f"{first_at[request.account]}"
            )
        first_at.setdefault(request.account, number)
        requests.append(request)
        if isinstance(given, dict) and (known := _details(given)) != UNKNOWN:
            details[request.account] = known
    if problems:
        more = len(problems) - _SHOWN_PROBLEMS
        shown = [*problems[:_SHOWN_PROBLEMS], *([f"and {more:,} more"] if more > 0 else [])]
        raise _refused(f"{where}: {'; '.join(shown)}")
    if not requests:
        raise _refused(f"{where} names no account")
    return AccountsFile(requests, details)


def _records(lines: Iterable[str], where: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Yield each line's number with its object, or with an error message."""
    numbered = ((number, line.strip("\ufeff \r\n")) for number, line in enumerate(lines, start=1))
    used = ((number, line) for number, line in numbered
            if line.strip(_SEPARATORS + '" ') and not line.lstrip().startswith("#"))  # fmt: skip
    first = next(used, None)
    if first is None:
        return
    number, line = first
    if line.lstrip().startswith("{"):
        yield number, _object(line)
        yield from ((number, _object(line)) for number, line in used)
        return
    separator, header = _header(line)
    if any(name in _ACCOUNT_NAMES for name in header):
        _check_header(header, where, number)
        yield from ((number, _row(header, line, separator)) for number, line in used)
    elif len([*filter(None, header)]) > 1:
        raise _refused(
            f"{where}: line {number}: a file with several columns needs a header with account, got "
            f"{line[:80]!r}"
        )
    else:
        yield number, {"account": line}
        yield from ((number, {"account": line}) for number, line in used)


def _object(line: str) -> dict[str, Any] | str:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"invalid JSON: {error}"
    return value if isinstance(value, dict) else "expected a JSON object"


def _header(line: str) -> tuple[str, list[str]]:
    """Return a header's separator, and the names in its cells.

    It is the separator that yields an account column, or else the one that yields the most cells.
    """

    def rank(found: tuple[str, list[str]]) -> tuple[bool, int]:
        return any(name in _ACCOUNT_NAMES for name in found[1]), len(found[1])

    read = ((one, [_name(cell) for cell in _cells(line, one)]) for one in _SEPARATORS)
    return max(read, key=rank)


def _name(cell: str) -> str:
    """Return a column's name in the form of an option: ``Account ID`` is ``account_id``."""
    return re.sub(r"[\s-]+", "_", cell.strip().lower())


def _cells(line: str, separator: str) -> list[str]:
    """Return a line's cells, none if it is not valid CSV."""
    try:
        return next(csv.reader([line], delimiter=separator))
    except csv.Error:
        return []


def _row(header: list[str], line: str, separator: str) -> dict[str, Any] | str:
    cells = _cells(line, separator)
    if not cells:
        return "expected CSV, got an invalid line"
    if len(cells) != len(header):
        return f"expected {len(header)} cells, got {len(cells)}"
    if any(cell and not name for name, cell in zip(header, cells, strict=True)):
        return "a cell is in a column without a name"
    return {name: cell for name, cell in zip(header, cells, strict=True) if name}


def _check_header(header: list[str], where: str, number: int) -> None:
    named = [name for name in header if name]  # Spreadsheets may add empty columns.
    known = {*_ACCOUNT_NAMES, *_PARAMETERS, *_DESCRIPTIONS}
    unknown = [name for name in named if name not in known]
    if unknown or len(set(named)) != len(named):
        raise _refused(
            f"{where}: line {number}: expected a header of account, {', '.join(_PARAMETERS)}, each "
            f"once, got {', '.join(header)[:200]}"
        )


def _request(given: Mapping[str, Any] | str, shared: LicensesRequest) -> LicensesRequest:
    if isinstance(given, str):
        raise UsageError(given)
    named = {
        name: value
        for name, value in given.items()
        if name not in _DESCRIPTIONS
        and value is not None
        and (not isinstance(value, str) or value.strip())
    }
    accounts = [str(named.pop(name)) for name in _ACCOUNT_NAMES if name in named]
    if len(accounts) != 1:
        raise UsageError("expected one account (account)")
    changes = {name: _value(name, value) for name, value in named.items()}
    account = accounts[0].strip()
    return replace(shared, account=account, **changes) if changes else shared.of(account)


def _details(given: Mapping[str, Any]) -> AccountDetails:
    """Return what a line says of its account, besides how to request it."""
    texts = {name: value for name, value in given.items() if isinstance(value, str)}
    return AccountDetails(
        integration=_one_line(texts.get("integration", "")),
        tenant_id=_one_line(texts.get("tenant_id", "") or texts.get("tenant", "")),
    )


def _one_line(text: str) -> str | None:
    return " ".join(text.split()) or None


def _value(name: str, value: Any) -> Any:
    """Return an option's value from a cell's text or from a JSON value."""
    if name not in _PARAMETERS:
        raise UsageError(f"unknown option {name[:60]!r}: expected {', '.join(_PARAMETERS)}")
    match _PARAMETERS[name].kind:
        case Kind.FLAG:
            return _flag(name, value)
        case Kind.NUMBER:
            if not _is_whole(value):
                raise _unfit(name, "a whole number", value)
            return int(value)
        case Kind.FIELDS:
            fields = value.split() if isinstance(value, str) else value
            if not (isinstance(fields, list) and all(isinstance(one, str) for one in fields)):
                raise _unfit(name, "names of fields", value)
            return tuple(fields)
        case Kind.NESTED:
            return value if isinstance(value, dict) else (
                parse_remote_query(_text(name, value).split("&")))  # fmt: skip
        case Kind.PAIRS:
            if isinstance(value, dict) and all(isinstance(one, str) for one in value.values()):
                return tuple(value.items())
            return tuple(split_assignment(one, name) for one in _text(name, value).split("&"))
        case _:
            return _text(name, value).strip()


def _flag(name: str, value: Any) -> bool:
    """Return the boolean of a spreadsheet's TRUE, a yes, or JSON's true."""
    said = str(value).strip().lower() if isinstance(value, str | bool) else ""
    if said not in _TRUE | _FALSE:
        raise _unfit(name, "true or false", value)
    return said in _TRUE


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _unfit(name, "a text", value)
    return value


def _is_whole(value: Any) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"\s*[0-9]{1,18}\s*", value) is not None
    return isinstance(value, int) and not isinstance(value, bool)


def _refused(message: str) -> UsageError:
    return UsageError(message, parameter="accounts_file")


def _unfit(name: str, expected: str, value: Any) -> UsageError:
    return UsageError(f"{name}: expected {expected}, got {str(value)[:60]!r}")
