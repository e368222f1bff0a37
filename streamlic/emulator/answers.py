"""Plans an answer: takes the request, returns what to send. No I/O.

Source: Truto's reference of ``GET /unified/user-directory/licenses``, and of its errors.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from streamlic.emulator.accounts import EmulatedAccount
from streamlic.emulator.records import Shape, blocks, license_json

LICENSES_PATH = "/unified/user-directory/licenses"
_FORMATS = ("unified", "raw", "normalized", "stream")
_PRODUCTS = ("azure_active_directory", "onedrive")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MAX_LIMIT = 100_000


@dataclass(frozen=True, kw_only=True)
class EmulatorConfig:
    """What this Truto has and how it behaves.

    Every account has ``records`` licenses, unless ``accounts`` is given: then only those accounts
    exist, each with its own number, and ``GET /integrated-account`` lists them. ``latency_ms``
    passes before each answer. ``integration`` decides which parameters are required.
    ``window_seconds`` is the window of both ``rate_limits``.
    ``is_partial`` marks every answer as partial. ``compress`` encodes bodies as the client accepts.
    """

    records: int = 100_000
    seed: int = 7
    page_size: int = 100
    latency_ms: float = 0.0
    token: str | None = None
    rate_limits: bool = False
    window_seconds: float = 10.0
    accounts: Mapping[str, int | EmulatedAccount] | None = None
    integration: str = "generic"
    is_partial: bool = False
    compress: bool = False

    def records_of(self, account: str) -> int | None:
        """Return how many licenses an account has, None if it does not exist."""
        if self.accounts is None:
            return self.records
        known = self.accounts.get(account)
        return known.records if isinstance(known, EmulatedAccount) else known

    def account(self, account: str) -> EmulatedAccount:
        """Return an account that exists."""
        known = self.accounts.get(account) if self.accounts else None
        if isinstance(known, EmulatedAccount):
            return known
        return EmulatedAccount(id=account, records=self.records_of(account) or 0)


@dataclass(frozen=True)
class Asked:
    """The parts of a request that an answer depends on."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: Mapping[str, str]
    """By name, in lower case."""

    def value(self, name: str) -> str | None:
        """Return a parameter, None if it is absent, empty, or ``None`` as an SDK writes it."""
        given = [value for key, value in self.query if key == name and value not in ("", "None")]
        return given[-1] if given else None

    def values(self, name: str) -> list[str]:
        """Return an array, written ``name[]=``, ``name[0]=`` or with commas."""
        pattern = re.compile(re.escape(name) + r"(?:\[\d*\])?")
        texts = [value for key, value in self.query if pattern.fullmatch(key)]
        return [one for text in texts for one in text.split(",") if one and one != "None"]


@dataclass(frozen=True)
class Wire:
    """A fault in transmission: its name, at which byte, for how many seconds."""

    fault: str
    at: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Lie:
    """What a page states falsely; by default nothing.

    ``count`` is added to ``result_count``. ``repeats_cursor`` gives the page's own cursor as the
    next one. ``repeats_page`` sends the rows of the previous page.
    """

    count: int = 0
    repeats_cursor: bool = False
    repeats_page: bool = False


_HONEST = Lie()


@dataclass(frozen=True)
class Answer:
    """What to send. Each call of ``pieces`` returns the whole body."""

    status: int
    pieces: Callable[[], Iterator[bytes]]
    headers: dict[str, str] = field(default_factory=dict)
    has_length: bool = True
    """Whether there is a Content-Length; without it the body is chunked."""
    wire: Wire | None = None


class _Refusal(Exception):
    """The answer with which a request is refused."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def answer(config: EmulatorConfig, asked: Asked, lie: Lie = _HONEST) -> Answer:
    """Plan the answer to one request."""
    try:
        _authenticate(config, asked)
        if asked.method != "GET":
            raise _refused(404, f"{asked.method} {asked.path} does not exist")
        if asked.path == "/ping":
            return _json_answer(200, {"message": "pong"})
        if asked.path == LICENSES_PATH:
            return _licenses(config, asked, lie)
        if asked.path == "/integrated-account":
            return _integrated_accounts(config, asked)
        raise _refused(404, f"{asked.path} does not exist")
    except _Refusal as refused:
        return refused.answer


def page_start(asked: Asked) -> int:
    """Return the number of the first row of the requested page."""
    try:
        return _offset(asked)
    except _Refusal:
        return 0


def refusal(
    status: int,
    message: str,
    *,
    insight: dict[str, Any] | None = None,
    more: dict[str, Any] | None = None,
) -> Answer:
    """Plan an error envelope; ``more`` adds members to it."""
    body = {"statusCode": status, "error": _phrase(status), "message": message, **(more or {})}
    if insight:
        body["truto_error_insight"] = insight
    return _json_answer(status, body)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def rate_limited(wait_seconds: int) -> Answer:
    """Plan the answer to one request too many."""
    insight = {"rate_limit_error": {"description": "Too many requests", "value": True}}
    refused = refusal(429, "Rate limit exceeded", insight=insight)
    return Answer(429, refused.pieces, {**refused.headers, "Retry-After": str(wait_seconds)})


def _authenticate(config: EmulatorConfig, asked: Asked) -> None:
    if config.token is None:
        return
    if asked.headers.get("authorization") != f"Bearer {config.token}":
        raise _refused(401, "Invalid API token")


def _licenses(config: EmulatorConfig, asked: Asked, lie: Lie) -> Answer:
    account = (asked.value("integrated_account_id") or "").lower()
    if not _UUID.fullmatch(account):
        raise _missing("integrated_account_id")
    total = config.records_of(account)
    if total is None:
        raise _refused(404, "Integrated account not found")
    _check_healthy(config.account(account))
    form = asked.value("truto_response_format") or "unified"
    if form not in _FORMATS:
        raise _refused(400, f"truto_response_format must be one of {_FORMATS}")
    first_only = asked.value("remote_query[first]")
    if first_only and first_only.isdigit():
        total = min(total, int(first_only))
    shape = _shape(config, asked, raw=form == "raw")
    start = _offset(asked)
    limit = _limit(config, asked, total)
    stop = min(start + limit, total)
    next_start = start if lie.repeats_cursor and start else stop
    next_cursor = _cursor(asked, next_start) if next_start < total else None
    prev_cursor = _cursor(asked, 0) if start else None
    if lie.repeats_page and start:  # The whole previous page, even if this one is shorter.
        start, stop = max(start - limit, 0), start
    key_by = asked.value("truto_key_by")
    facts = {
        "next_cursor": next_cursor,
        "prev_cursor": prev_cursor,
        "result_count": stop - start + lie.count,
        "is_partial_response": config.is_partial,
    }

    def pieces() -> Iterator[bytes]:
        if form == "raw":
            yield b'{"@odata.context":"https://graph.microsoft.com/v1.0/$metadata#subscribedSkus",'
            yield b'"value":['
            yield from blocks(config.seed, account, start, stop, shape)
            link = f"https://graph.microsoft.com/v1.0/subscribedSkus?$skiptoken={next_cursor}"
            yield b"]}" if next_cursor is None else f'],"@odata.nextLink":"{link}"}}'.encode()
            return
        if key_by is None or (key_by == "id" and "id" not in shape.excluded):
            yield b'{"result":{' if key_by else b'{"result":['
            yield from blocks(config.seed, account, start, stop, shape, is_keyed=bool(key_by))
            yield b"}" if key_by else b"]"
        else:
            yield b'{"result":' + _keyed(config.seed, account, range(start, stop), shape, key_by)
        yield b"," + json.dumps(facts)[1:].encode()

    return Answer(200, pieces, {"Content-Type": "application/json"}, has_length=form != "stream")


def _check_healthy(account: EmulatedAccount) -> None:
    if account.is_blocked:
        raise _refused(503, "Integrated account is blocked")
    if account.status != "active":
        more = {"truto_is_remote_error": True}
        raise _Refusal(refusal(401, "The token was revoked", more=more))


def _integrated_accounts(config: EmulatorConfig, asked: Asked) -> Answer:
    tenant, integration = asked.value("tenant_id"), asked.value("integration.name")
    listed = [
        account
        for account in map(config.account, config.accounts or ())
        if tenant in (None, account.tenant_id) and integration in (None, account.integration)
    ]
    start, limit = _offset(asked), _limit(config, asked, len(listed))
    stop = start + limit
    body = {
        "result": [account.listed() for account in listed[start:stop]],
        "next_cursor": _cursor(asked, stop) if stop < len(listed) else None,
        "limit": limit,
    }
    return _json_answer(200, body)


def _shape(config: EmulatorConfig, asked: Asked, *, raw: bool) -> Shape:
    product, organization = asked.value("product"), asked.value("organization_id")
    if config.integration == "microsoft365" and product is None:
        raise _missing("product")
    if config.integration == "github" and organization is None:
        raise _missing("organization_id")
    if product is not None and product not in _PRODUCTS:
        raise _refused(400, f"product must be one of {', '.join(_PRODUCTS)}")
    excluded = set(asked.values("truto_exclude_fields"))
    if asked.value("truto_ignore_remote_data") == "true":
        excluded.add("remote_data")
    return Shape(frozenset(excluded), raw, product, organization)


def _limit(config: EmulatorConfig, asked: Asked, total: int) -> int:
    if asked.value("truto_ignore_limit") == "true":
        return total
    limit = asked.value("limit")
    if limit is None:
        return config.page_size
    if not limit.isdigit() or not 0 < int(limit) <= _MAX_LIMIT:
        raise _refused(400, f"limit must be from 1 to {_MAX_LIMIT}")
    return int(limit)


def _keyed(seed: int, account: str, numbers: range, shape: Shape, key_by: str) -> bytes:
    """Key a page as lodash's keyBy does: of records with the same key the last one counts."""
    keyed: dict[str, bytes] = {}
    for number in numbers:
        text = license_json(seed, account, number, shape)
        value = json.loads(text).get(key_by, "undefined")
        key = value if isinstance(value, str) else json.dumps(value)
        keyed[key] = text
    members = (json.dumps(key).encode() + b":" + text for key, text in keyed.items())
    return b"{" + b",".join(members) + b"}"


def _offset(asked: Asked) -> int:
    text = asked.value("next_cursor")
    if text is None:
        return 0
    try:
        cursor = json.loads(base64.urlsafe_b64decode(text))
        offset, fingerprint = int(cursor["offset"]), cursor["of"]
    except (ValueError, KeyError, TypeError):
        raise _refused(400, "next_cursor is not valid") from None
    if fingerprint != _fingerprint(asked) or offset < 0:
        raise _refused(400, "next_cursor belongs to another request")
    return offset


def _cursor(asked: Asked, offset: int) -> str:
    body = {"offset": offset, "of": _fingerprint(asked)}
    return base64.urlsafe_b64encode(json.dumps(body).encode()).decode()


def _fingerprint(asked: Asked) -> str:
    """Return a digest of the request, without cursor and limit: a cursor belongs to one request."""
    given = sorted(
        (key, value)
        for key, value in asked.query
        if key not in ("next_cursor", "limit") and value not in ("", "None")
    )
    return hashlib.sha256(json.dumps(given).encode()).hexdigest()[:12]


def _missing(name: str) -> _Refusal:
    insight = {
        "missing_required_query_parameters": {
            "description": "Required query parameters are missing",
            "value": [name],
        }
    }
    return _Refusal(refusal(400, f"{name} is required", insight=insight))


def _refused(status: int, message: str) -> _Refusal:
    return _Refusal(refusal(status, message))


def _json_answer(status: int, body: dict[str, Any]) -> Answer:
    data = json.dumps(body).encode()
    return Answer(status, lambda: iter([data]), {"Content-Type": "application/json"})
