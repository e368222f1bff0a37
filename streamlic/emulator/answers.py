"""Plans an answer: takes the request, returns what to send. No I/O.

Source: Truto's reference of ``GET /unified/user-directory/licenses``, and of its errors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from streamlic.emulator.account_answers import ACCOUNTS_PATH, account_answer, accounts_answer
from streamlic.emulator.accounts import EmulatedAccount
from streamlic.emulator.asked import UUID, Asked
from streamlic.emulator.changes import Tonight
from streamlic.emulator.config import EmulatorConfig
from streamlic.emulator.filters import chosen, time_filters
from streamlic.emulator.planned import (
    Answer,
    Refusal,
    json_answer,
    missing,
    refusal,
    refused,
)
from streamlic.emulator.records import Shape
from streamlic.emulator.worlds import texts

LICENSES_PATH = "/unified/user-directory/licenses"
_FORMATS = ("unified", "raw", "normalized", "stream")
_PRODUCTS = ("azure_active_directory", "onedrive")


@dataclass(frozen=True, kw_only=True)
class Lie:
    """What a page states falsely; by default nothing.

    ``count`` is added to ``result_count``. ``repeats_cursor`` gives the page's own cursor as the
    next one. ``repeats_page`` sends the rows of the previous page. ``is_changed`` sends the same
    ids with other values.
    """

    count: int = 0
    repeats_cursor: bool = False
    repeats_page: bool = False
    is_changed: bool = False


_HONEST = Lie()


def answer(config: EmulatorConfig, asked: Asked, lie: Lie = _HONEST) -> Answer:
    """Plan the answer to one request."""
    try:
        _authenticate(config, asked)
        if asked.method != "GET":
            raise refused(404, f"{asked.method} {asked.path} does not exist")
        if asked.path == "/ping":
            return json_answer(200, {"message": "pong"})
        if asked.path == LICENSES_PATH:
            return _licenses(config, asked, lie)
        if asked.path == ACCOUNTS_PATH:
            return accounts_answer(config, asked)
        if asked.path.startswith(f"{ACCOUNTS_PATH}/"):
            return account_answer(config, asked.path.removeprefix(f"{ACCOUNTS_PATH}/"))
        raise refused(404, f"{asked.path} does not exist")
    except Refusal as refusing:
        return refusing.answer


def _authenticate(config: EmulatorConfig, asked: Asked) -> None:
    if config.token is None:
        return
    if asked.headers.get("authorization") != f"Bearer {config.token}":
        raise refused(401, "Invalid API token")


def _licenses(config: EmulatorConfig, asked: Asked, lie: Lie) -> Answer:
    account = (asked.value("integrated_account_id") or "").lower()
    if not UUID.fullmatch(account):
        raise missing("integrated_account_id")
    found = config.world.account(account)
    if found is None:
        raise refused(404, "Integrated account not found")
    _check_healthy(found)
    form = asked.value("truto_response_format") or "unified"
    if form not in _FORMATS:
        raise refused(400, f"truto_response_format must be one of {_FORMATS}")
    shape = _shape(config, asked, found.integration, raw=form == "raw")
    seed = config.seed + 1 if lie.is_changed else config.seed
    tonight = _listed(config, asked, found, seed)
    total, start = len(tonight.numbers), asked.offset()
    limit = asked.limit(config.page_size, total)
    stop = max(start, min(start + limit, total))
    next_start = start if lie.repeats_cursor and start else stop
    next_cursor = asked.cursor(next_start) if next_start < total else None
    prev_cursor = asked.cursor(0) if start else None
    if lie.repeats_page and start:  # The whole previous page, even if this one is shorter.
        start, stop = max(start - limit, 0), start
    page = Tonight(tonight.numbers[start:stop], tonight.changed)
    key_by = asked.value("truto_key_by")
    facts = {
        "next_cursor": next_cursor,
        "prev_cursor": prev_cursor,
        "result_count": len(page.numbers) + lie.count,
        "is_partial_response": config.is_partial,
    }

    def pieces() -> Iterator[bytes]:
        if form == "raw":
            yield b'{"@odata.context":"https://graph.microsoft.com/v1.0/$metadata#subscribedSkus",'
            yield b'"value":['
            yield from texts(seed, account, page, shape)
            link = f"https://graph.microsoft.com/v1.0/subscribedSkus?$skiptoken={next_cursor}"
            yield b"]}" if next_cursor is None else f'],"@odata.nextLink":"{link}"}}'.encode()
            return
        if key_by is None:
            yield b'{"result":['
            yield from texts(seed, account, page, shape)
            yield b"]"
        elif key_by == "id" and "id" not in shape.excluded:
            yield b'{"result":{'
            yield from texts(seed, account, page, shape, is_keyed=True)
            yield b"}"
        else:
            yield b'{"result":' + _keyed(seed, account, page, shape, key_by)
        yield b"," + json.dumps(facts)[1:].encode()

    return Answer(200, pieces, {"Content-Type": "application/json"}, has_length=form != "stream")


def _listed(config: EmulatorConfig, asked: Asked, account: EmulatedAccount, seed: int) -> Tonight:
    """Return the licenses that a request asks for, of all its pages."""
    filters = time_filters(asked)
    tonight = config.world.tonight(account.id)
    if filters:
        tonight = chosen(tonight, filters, seed, account.id, account.integration)
    first_only = asked.value("remote_query[first]")
    if first_only and first_only.isdigit():
        tonight = Tonight(tonight.numbers[: int(first_only)], tonight.changed)
    return tonight


def _check_healthy(account: EmulatedAccount) -> None:
    if account.is_blocked:
        raise refused(503, "Integrated account is blocked")
    if account.status != "active":
        more = {"truto_is_remote_error": True}
        raise Refusal(refusal(401, "The token was revoked", more=more))


def _shape(config: EmulatorConfig, asked: Asked, integration: str, *, raw: bool) -> Shape:
    product, organization = asked.value("product"), asked.value("organization_id")
    if config.integration == "microsoft365" and product is None:
        raise missing("product")
    if config.integration == "github" and organization is None:
        raise missing("organization_id")
    if product is not None and product not in _PRODUCTS:
        raise refused(400, f"product must be one of {', '.join(_PRODUCTS)}")
    excluded = set(asked.values("truto_exclude_fields"))
    if asked.value("truto_ignore_remote_data") == "true":
        excluded.add("remote_data")
    return Shape(frozenset(excluded), raw, product, organization, integration)


def _keyed(seed: int, account: str, page: Tonight, shape: Shape, key_by: str) -> bytes:
    """Key a page as lodash's keyBy does: of records with the same key the last one counts."""
    keyed: dict[str, bytes] = {}
    for number in page.numbers:
        text = b"".join(texts(seed, account, Tonight([number], page.changed), shape))
        value = json.loads(text).get(key_by, "undefined")
        key = value if isinstance(value, str) else json.dumps(value)
        keyed[key] = text
    members = (json.dumps(key).encode() + b":" + text for key, text in keyed.items())
    return b"{" + b",".join(members) + b"}"
