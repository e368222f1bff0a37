"""What is asked: the parameters of a list of licenses, validated, and how they stand in the URL.

Source: ``GET /unified/user-directory/licenses`` of the Truto unified API and Truto's page on
specifying query parameters. Pure: nothing here touches the network.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self
from urllib.parse import quote

from streamlic.errors import UsageError
from streamlic.resources.licenses import LICENSE_FIELDS, PRODUCTS
from streamlic.truto.query import QueryValue, encode_parameter
from streamlic.validation import check_text, shown

RESPONSE_FORMATS = ("stream", "unified", "normalized", "raw")

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_OWN_PARAMETERS = {
    "integrated_account_id": "account",
    "truto_response_format": "response_format",
    "product": "product",
    "organization_id": "organization_id",
    "limit": "limit",
    "next_cursor": "next_cursor",
    "truto_ignore_limit": "ignore_limit",
    "truto_key_by": "key_by",
    "truto_ignore_remote_data": "ignore_remote_data",
    "truto_exclude_fields": "exclude_fields",
    "remote_query": "remote_query",
}


@dataclass(frozen=True, kw_only=True)
class LicensesRequest:
    """One request for a page of licenses.

    ``remote_query`` goes to the remote API unchanged, nested to any depth. ``query`` holds any
    further unified parameters under their full names (``updated_at[gt]``). Raises UsageError,
    before anything is sent, for a value that the API would not take.
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
        _check_shapes(self)
        if not _UUID.fullmatch(self.account.lower()):
            raise UsageError(
                f"the account must be a UUID such as 62f44730-dd91-461e-bd6a-aedd9e0ad79d, "
                f"got {shown(self.account)}",
                parameter="account",
            )
        object.__setattr__(self, "account", self.account.lower())
        _one_of("response format", self.response_format, RESPONSE_FORMATS, "response_format")
        if self.product is not None:
            _one_of("product", self.product, PRODUCTS, "product")
        if self.organization_id is not None and not self.organization_id.strip():
            raise UsageError("the organization id must not be empty", parameter="organization_id")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"the limit must be 1 or more, got {self.limit}", parameter="limit")
        for name in self.exclude_fields:
            self._check_field(name, "exclude_fields")
        if len(set(self.exclude_fields)) != len(self.exclude_fields):
            raise UsageError("a field is excluded twice", parameter="exclude_fields")
        if self.key_by is not None:
            self._check_field(self.key_by, "key_by")
            excluded = (*self.exclude_fields, *(["remote_data"] * self.ignore_remote_data))
            if self.key_by in excluded:
                raise UsageError(
                    f"the result cannot be keyed by {self.key_by}, which is excluded",
                    parameter="key_by",
                )
            if self.response_format == "raw":
                raise UsageError("a raw response cannot be keyed", parameter="key_by")
        for name, _ in self.query:
            _check_further_parameter(name)
        for name, value in self.query_items():
            parameter = _OWN_PARAMETERS.get(name.partition("[")[0], "query")
            check_text(name, parameter)
            check_text(value, parameter)

    def _check_field(self, name: str, parameter: str) -> None:
        """Raise UsageError for what is no field of a license; a raw response has other fields."""
        base = name.partition(".")[0]
        if not _FIELD.fullmatch(name):
            got = shown(name)
            raise UsageError(
                f"expected a field's name such as {LICENSE_FIELDS[1]}, got {got}",
                parameter=parameter,
            )
        if self.response_format != "raw" and base not in LICENSE_FIELDS:
            near = difflib.get_close_matches(base.lower(), LICENSE_FIELDS, 1)
            meant = f" (did you mean {near[0]}?)" if near else ""
            raise UsageError(
                f"a license has no field {shown(base)}{meant}: expected "
                f"{', '.join(LICENSE_FIELDS)}",
                parameter=parameter,
            )

    def query_items(self) -> list[tuple[str, str]]:
        """Return the query as (name, value) pairs, decoded, in the order in which they are sent."""
        items = [
            ("integrated_account_id", self.account),
            ("truto_response_format", self.response_format),
        ]
        optional: dict[str, QueryValue] = {
            "product": self.product,
            "organization_id": self.organization_id,
            "limit": self.limit,
            "truto_ignore_limit": self.ignore_limit or None,
            "truto_key_by": self.key_by,
            "truto_ignore_remote_data": self.ignore_remote_data or None,
            "truto_exclude_fields": list(self.exclude_fields) or None,
            "remote_query": dict(self.remote_query) or None,
        }
        for name, value in optional.items():
            if value is not None:
                items.extend(encode_parameter(name, value))
        items.extend(self.query)
        if self.next_cursor:
            items.append(("next_cursor", self.next_cursor))
        return items

    def query_string(self) -> str:
        """Return the query with keys and values percent-encoded (RFC 3986)."""
        return "&".join(
            f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in self.query_items()
        )

    def after(self, next_cursor: str | None) -> Self | None:
        """Return the request for the page after one that named ``next_cursor``.

        None where that is null, absent or empty: the listing has ended.
        """
        return replace(self, next_cursor=next_cursor) if next_cursor else None

    def identity(self) -> dict[str, Any]:
        """Return all that makes this the same listing, apart from the account and the cursor.

        Holds JSON values only, and never the token. Two runs with equal identities read the same.
        """
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        del given["account"], given["next_cursor"]
        given["exclude_fields"] = list(self.exclude_fields)
        given["remote_query"] = encode_parameter("remote_query", dict(self.remote_query))
        given["query"] = [list(item) for item in self.query]
        given["remote_query"] = [list(item) for item in given["remote_query"]]
        return given


def identity_of(requests: Sequence[LicensesRequest]) -> dict[str, Any]:
    """Return what makes these the same listings, but for which accounts they are of.

    The first one's identity, and under ``differing`` what others have otherwise, by account.
    """
    shared = requests[0].identity()
    differing: dict[str, dict[str, Any]] = {}
    for request in requests:
        own = request.identity()
        if own != shared:
            differing[request.account] = {
                key: value for key, value in own.items() if value != shared[key]
            }
    return {**shared, **({"differing": differing} if differing else {})}


def requests_of(
    account: str | Iterable[str], parameters: Mapping[str, Any]
) -> list[LicensesRequest]:
    """Return the requests of one account or several, in their order; UsageError for bad ones."""
    accounts = [account] if isinstance(account, str) else account
    requests = [LicensesRequest(account=one, **parameters) for one in accounts]
    check_requests(requests)
    return requests


def check_requests(requests: Iterable[LicensesRequest]) -> None:
    """Raise UsageError where there is no account, or one twice."""
    accounts: set[str] = set()
    for request in requests:
        if request.account in accounts:
            raise UsageError(f"an account is given twice: {request.account}", parameter="account")
        accounts.add(request.account)
    if not accounts:
        raise UsageError("expected at least one account", parameter="account")


def _check_shapes(request: LicensesRequest) -> None:
    """Raise UsageError for values that would be taken apart as something else than was meant.

    A text is a sequence of texts, and a text of two characters could pass for a pair.
    """
    fields_, pairs = request.exclude_fields, request.query
    if not (_is_listed(fields_) and all(isinstance(one, str) for one in fields_)):
        raise UsageError(
            f"expected a list or tuple of names, got {shown(fields_)}", parameter="exclude_fields"
        )
    if not (_is_listed(pairs) and all(map(_is_pair, pairs))):
        raise UsageError(
            f"expected a list or tuple of (name, value) pairs of text, got {shown(pairs)}",
            parameter="query",
        )
    if not isinstance(request.remote_query, Mapping):
        raise UsageError(
            f"expected a mapping, got {shown(request.remote_query)}", parameter="remote_query"
        )


def _is_listed(value: object) -> bool:
    return isinstance(value, list | tuple)


def _is_pair(value: Any) -> bool:
    return _is_listed(value) and len(value) == 2 and all(isinstance(one, str) for one in value)


def _check_further_parameter(name: str) -> None:
    base = name.partition("[")[0]
    if not base:
        raise UsageError(f"a query parameter needs a name, got {shown(name)}", parameter="query")
    if base in _OWN_PARAMETERS:
        raise UsageError(
            f"{base} has a parameter of its own, {_OWN_PARAMETERS[base]}", parameter="query"
        )


def _one_of(what: str, value: str, allowed: Sequence[str], parameter: str) -> None:
    if value not in allowed:
        raise UsageError(
            f"the {what} must be one of {', '.join(allowed)}, got {shown(value)}",
            parameter=parameter,
        )
