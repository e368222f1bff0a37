"""A request for a page of licenses: validated, and as a query string. Pure.

All facts about parameters come from the resource's table of parameters.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any, Self
from urllib.parse import quote

from streamlic.errors import UsageError
from streamlic.resources.base import Kind, Parameter
from streamlic.resources.licenses import LICENSES
from streamlic.truto.query import QueryValue, encode_parameter
from streamlic.validation import check_text, shown

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_ACCOUNT = "integrated_account_id"
_CURSOR = "next_cursor"
_NAMES = {
    _ACCOUNT: "account",
    _CURSOR: _CURSOR,
    **{one.wire_name: one.name for one in LICENSES.parameters if one.wire_name},
}
"""The names on the wire of the query parameters that have a parameter of the request."""


@lru_cache(maxsize=256)
def _quoted(name: str) -> str:
    """Percent-encode the name of a parameter: pages repeat them."""
    return quote(name, safe="")


@dataclass(frozen=True, kw_only=True)
class LicensesRequest:
    """One request for a page of licenses.

    ``remote_query`` goes to the remote API unchanged, nested to any depth. ``query`` holds any
    other unified parameters under their full names (``updated_at[gt]``). Raises UsageError, before
    anything is sent, for a value that the API would reject.
    """

    account: str
    response_format: str = "stream"
    product: str | None = None
    organization_id: str | None = None
    limit: int | None = None
    ignore_limit: bool = False
    key_by: str | None = None
    exclude_fields: tuple[str, ...] = ()
    ignore_remote_data: bool = False
    remote_query: Mapping[str, QueryValue] = field(default_factory=dict)
    query: tuple[tuple[str, str], ...] = ()
    next_cursor: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "account", _account(self.account))
        for parameter in LICENSES.parameters:
            value = getattr(self, parameter.name)
            if value is not None:
                _check(parameter, value, has_known_fields=self.response_format != "raw")
        self._check_key()
        for name, value in self.query_items():
            parameter_name = _NAMES.get(name.partition("[")[0], "query")
            check_text(name, parameter_name)
            check_text(value, parameter_name)

    def _check_key(self) -> None:
        """Raise UsageError if the result cannot be keyed as requested."""
        if self.key_by is None:
            return
        excluded = (*self.exclude_fields, *(["remote_data"] * self.ignore_remote_data))
        if self.key_by in excluded:
            raise UsageError(
                f"the result cannot be keyed by {self.key_by}, which is excluded",
                parameter="key_by",
            )
        if self.response_format == "raw":
            raise UsageError("a raw response cannot be keyed", parameter="key_by")

    def query_items(self) -> list[tuple[str, str]]:
        """Return the query as (name, value) pairs, decoded, in the order in which they are sent."""
        items = [(_ACCOUNT, self.account)]
        for parameter in LICENSES.parameters:
            value = getattr(self, parameter.name)
            if not value:  # Most are not given; a 0 or an empty text is refused.
                continue
            if parameter.kind is Kind.PAIRS:
                items += value
            else:
                items += encode_parameter(parameter.wire_name, value)
        if self.next_cursor:
            items.append((_CURSOR, self.next_cursor))
        return items

    def query_string(self) -> str:
        """Return the query with keys and values percent-encoded (RFC 3986)."""
        return "&".join(
            f"{_quoted(name)}={quote(value, safe='')}" for name, value in self.query_items()
        )

    def after(self, next_cursor: str | None) -> Self | None:
        """Return the request for the page that a page's ``next_cursor`` leads to.

        None if the cursor is null, absent or empty: the list has ended.
        """
        if not next_cursor:
            return None
        check_text(next_cursor, _CURSOR)
        return self._with(_CURSOR, next_cursor)

    def of(self, account: str) -> Self:
        """Return the request for the same page of another account. Raises UsageError for no UUID.

        There are thousands of accounts: what they share is not checked again.
        """
        return self._with("account", _account(account))

    def _with(self, name: str, value: str) -> Self:
        one = copy(self)
        object.__setattr__(one, name, value)
        return one

    def identity(self) -> dict[str, Any]:
        """Return the list's identity: all that decides its rows but the account and the cursor.

        Contains only JSON values, and never the token. Runs with equal identities read the same.
        """
        return {one.name: _identity(one, getattr(self, one.name)) for one in LICENSES.parameters}


def identity_of(requests: Sequence[LicensesRequest]) -> dict[str, Any]:
    """Return the identity of several lists, apart from their accounts.

    It is the identity of the first request, with the differences of the others under ``differing``,
    by account.
    """
    shared = requests[0].identity()
    differing: dict[str, dict[str, Any]] = {}
    values = _values(requests[0])
    for request in requests:
        if all(one is other for one, other in zip(_values(request), values, strict=True)):
            continue  # Most are copies of one.
        own = request.identity()
        if own != shared:
            differing[request.account] = {
                key: value for key, value in own.items() if value != shared[key]
            }
    return {**shared, **({"differing": differing} if differing else {})}


def requests_of(
    account: str | Iterable[str], parameters: Mapping[str, Any]
) -> list[LicensesRequest]:
    """Return a request for each account, in order. Raises UsageError for an invalid one."""
    accounts = iter([account] if isinstance(account, str) else account)
    requests = [LicensesRequest(account=one, **parameters) for one in islice(accounts, 1)]
    requests += [requests[0].of(one) for one in accounts]
    check_requests(requests)
    return requests


def check_requests(requests: Iterable[LicensesRequest]) -> None:
    """Raise UsageError if there is no account, or a duplicate."""
    accounts: set[str] = set()
    for request in requests:
        if request.account in accounts:
            raise UsageError(f"an account is given twice: {request.account}", parameter="account")
        accounts.add(request.account)
    if not accounts:
        raise UsageError("expected at least one account", parameter="account")


def _account(text: str) -> str:
    account = text.lower()
    if not _UUID.fullmatch(account):
        raise UsageError(
            f"the account must be a UUID such as 62f44730-dd91-461e-bd6a-aedd9e0ad79d, "
            f"got {shown(text)}",
            parameter="account",
        )
    return account


def _values(request: LicensesRequest) -> list[Any]:
    return [getattr(request, one.name) for one in LICENSES.parameters]


def _identity(parameter: Parameter, value: Any) -> Any:
    """Return a parameter's value as a JSON value."""
    if parameter.kind is Kind.NESTED:
        return [list(pair) for pair in encode_parameter(parameter.wire_name, dict(value))]
    if parameter.kind is Kind.PAIRS:
        return [list(pair) for pair in value]
    return list(value) if parameter.kind is Kind.FIELDS else value


def _check(parameter: Parameter, value: Any, *, has_known_fields: bool) -> None:
    """Raise UsageError for a value that the parameter does not accept.

    ``has_known_fields`` is false for a raw response, which has the vendor's own fields.
    """
    problem = next(_problems(parameter, value, has_known_fields=has_known_fields), None)
    if problem:
        raise UsageError(problem, parameter=parameter.name)


def _problems(parameter: Parameter, value: Any, *, has_known_fields: bool) -> Iterator[str]:
    what = parameter.name.replace("_", " ")
    match parameter.kind:
        case Kind.CHOICE if value not in parameter.choices:
            yield f"the {what} must be one of {', '.join(parameter.choices)}, got {shown(value)}"
        case Kind.TEXT if not value.strip():
            yield f"the {what} must not be empty"
        case Kind.NUMBER if value < 1:
            yield f"the {what} must be 1 or more, got {value}"
        case Kind.FIELD:
            yield from _field_problems(value, has_known_fields=has_known_fields)
        case Kind.FIELDS:
            # A string is a sequence of strings: it would be split into characters.
            if not (_is_list(value) and all(isinstance(one, str) for one in value)):
                yield f"expected a list or tuple of names, got {shown(value)}"
                return
            for one in value:
                yield from _field_problems(one, has_known_fields=has_known_fields)
            if len(set(value)) != len(value):
                yield "a field is excluded twice"
        case Kind.NESTED if not isinstance(value, Mapping):
            yield f"expected a mapping, got {shown(value)}"
        case Kind.PAIRS:
            if not (_is_list(value) and all(map(_is_pair, value))):
                yield f"expected a list or tuple of (name, value) pairs of text, got {shown(value)}"
                return
            for name, _ in value:
                yield from _name_problems(name)


def _field_problems(name: str, *, has_known_fields: bool) -> Iterator[str]:
    base = name.partition(".")[0]
    if not _FIELD.fullmatch(name):
        yield f"expected a field's name such as {LICENSES.fields[1]}, got {shown(name)}"
    elif has_known_fields and base not in LICENSES.fields:
        near = difflib.get_close_matches(base.lower(), LICENSES.fields, 1)
        meant = f" (did you mean {near[0]}?)" if near else ""
        yield (
            f"a license has no field {shown(base)}{meant}: expected {', '.join(LICENSES.fields)}"
        )


def _name_problems(name: str) -> Iterator[str]:
    """Yield what is wrong with the name of a query parameter that ``query`` gives."""
    base = name.partition("[")[0]
    if not base:
        yield f"a query parameter needs a name, got {shown(name)}"
    elif base in _NAMES:
        yield f"{base} has a parameter of its own, {_NAMES[base]}"


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _is_pair(value: Any) -> bool:
    return _is_list(value) and len(value) == 2 and all(isinstance(one, str) for one in value)
