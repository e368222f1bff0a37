"""Record i of account a: a pure function of (seed, a, i), fast enough for gigabytes.

A cycle of templates is made once for each seed and shape: JSON text with a gap for the id.
Record i is the template that the account and i select, with its own id. Templates vary as real
licenses do: sparse fields, Unicode, escapes, many products, unknown fields, a few wrong types, and
as their integrations do: names, prices and currencies of their own. Of its seats a license leaves
5 to 25 % unused on average; some have more users than seats, and some report no numbers.
"""

from __future__ import annotations

import json
import math
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from streamlic.emulator.vendors import Product, products_of

CYCLE = 1024
_BLOCK = 512
_CACHED_SHAPES = 32
"""More than there are integrations: an export of all accounts asks for a shape of each."""
UNLIMITED = -1
"""The number of seats where a vendor sets no limit."""
_LOG_FEW, _LOG_MANY = math.log(2), math.log(500)
_OVER_ASSIGNED = 0.04
_FREE_LEFT_OUT = 0.7
_WITHOUT_NUMBERS = 0.06
_WRONG = [("available_quantity", '"12"'), ("is_paid", '"yes"'), ("created_at", '"never"'),
          ("unit_amount", '"9.99"')]  # fmt: skip
_WRONG_EVERY = 170
_PRODUCT_STATUSES = ["active", "inactive", "errored", "needs_input", "pending"]
_ESCAPES = [r"Line one\nline two", r"caf\u00e9 \u20ac", r"a \"quoted\" word", r"C:\\share \/ x",
            r"smile \ud83d\ude00"]  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """How a request shapes every record."""

    excluded: frozenset[str] = frozenset()
    raw: bool = False
    product: str | None = None
    organization_id: str | None = None
    integration: str = "generic"


_PLAIN = Shape()


def license_json(seed: int, account: str, i: int, shape: Shape = _PLAIN) -> bytes:
    """Return the bytes of record ``i`` (from 0) of an account, as in the body."""
    head, tail = _templates(seed, shape)[template_number(account, i)]
    return head + license_id(account, i).encode() + tail if tail else head


def license_record(seed: int, account: str, i: int, shape: Shape = _PLAIN) -> dict[str, Any]:
    """Return record ``i`` of an account, as ``json.loads`` reads it."""
    record: dict[str, Any] = json.loads(license_json(seed, account, i, shape))
    return record


def license_id(account: str, i: int) -> str:
    """Return the id of record ``i``: unique if the first eight digits of the accounts differ."""
    return f"lic-{account[:8]}-{i:09d}"


def blocks(
    seed: int, account: str, start: int, stop: int, shape: Shape, *, is_keyed: bool = False
) -> Iterator[bytes]:
    """Yield records ``start`` to ``stop``, joined by commas, a few hundred kilobytes at a time."""
    templates = _templates(seed, shape)
    offset = template_number(account, 0)
    prefix = f"lic-{account[:8]}-".encode()
    joints = [] if is_keyed else _joints(seed, shape)
    for first in range(start, stop, _BLOCK):
        numbers = range(first, min(first + _BLOCK, stop))
        at = (offset + first) % CYCLE
        if joints:
            block = _with_ids(templates, joints, at, [(prefix + b"%09d") % i for i in numbers])
        else:
            block = b",".join(
                _piece(templates[(offset + i) % CYCLE], prefix, i, is_keyed=is_keyed)
                for i in numbers
            )
        yield block if first == start else b"," + block


def _piece(template: tuple[bytes, bytes], prefix: bytes, i: int, *, is_keyed: bool) -> bytes:
    head, tail = template
    key = b'"%b%09d":' % (prefix, i) if is_keyed else b""
    return b"%b%b%b%09d%b" % (key, head, prefix, i, tail) if tail else key + head


def _with_ids(
    templates: list[tuple[bytes, bytes]], joints: list[bytes], at: int, ids: list[bytes]
) -> bytes:
    """Return the records from template ``at`` on, one for each id."""
    pieces = [b""] * (2 * len(ids) + 1)
    pieces[0] = templates[at][0]
    pieces[1::2] = ids
    pieces[2:-1:2] = joints[at : at + len(ids) - 1]
    pieces[-1] = templates[(at + len(ids) - 1) % CYCLE][1]
    return b"".join(pieces)


def template_number(account: str, i: int) -> int:
    """Return which template record ``i`` of an account has."""
    return (zlib.crc32(account.encode()) + i) % CYCLE


@lru_cache(maxsize=_CACHED_SHAPES)
def _templates(seed: int, shape: Shape) -> list[tuple[bytes, bytes]]:
    """Return the text before and after the id of each template; without an id there is no tail."""
    templates = []
    for number in range(CYCLE):
        rng = random.Random(f"{seed}/{shape.integration}/{number}")
        members = _members(rng, number, shape)
        if shape.raw:
            text = dict(members)["remote_data"]
        else:
            kept = [(key, value) for key, value in members if key not in shape.excluded]
            text = "{" + ",".join(f'"{key}":{value}' for key, value in kept) + "}"
        head, _, tail = text.partition("\0")
        templates.append((head.encode(), tail.encode()))
    return templates


@lru_cache(maxsize=_CACHED_SHAPES)
def _joints(seed: int, shape: Shape) -> list[bytes]:
    """Return the text between two ids, for two cycles; empty if records have no id."""
    templates = _templates(seed, shape)
    if not templates[0][1]:
        return []
    following = [*templates[1:], templates[0]]
    return [before[1] + b"," + after[0]
            for before, after in zip(templates, following, strict=True)] * 2  # fmt: skip


def _members(rng: random.Random, number: int, shape: Shape) -> list[tuple[str, str]]:
    """Return a record's keys with their JSON text; NUL marks the place of the id."""
    product = rng.choice(products_of(shape.integration))
    if not product.price and rng.random() < _FREE_LEFT_OUT:
        product = rng.choice(products_of(shape.integration))
    seats, used = _seats(rng, product)
    has_numbers = rng.random() > _WITHOUT_NUMBERS
    optional: list[tuple[str, float, Callable[[], str]]] = [
        ("name", 0.92, lambda: _text(rng, product.name)),
        ("description", 0.1, lambda: f'"{rng.choice(_ESCAPES)}"'),
        ("available_quantity", 0.93 * has_numbers, lambda: _quantity(rng, seats)),
        ("assigned_quantity", 0.95 * has_numbers, lambda: _quantity(rng, used)),
        ("unit_amount", 0.4, lambda: _price(rng, product.price)),
        ("currency", 0.4, lambda: f'"{product.currency}"'),
        ("is_paid", 0.8, lambda: "true" if product.price else "false"),
        ("status", 0.4, lambda: rng.choice(['"active"', '"active"', '"inactive"'])),
        ("products", 0.2, lambda: _products(rng)),
        ("roles", 0.05, lambda: '[{"id":"r1","name":"Administrator"},{"id":"r2","name":"User"}]'),
        ("created_at", 0.2, lambda: _moment(rng)),
        ("updated_at", 0.12, lambda: _moment(rng)),
        ("cost_center", 0.03, lambda: f'{{"code":{rng.randrange(9999)},"path":"a/b~c"}}'),
    ]
    members = [("id", '"\0"'), *((key, make()) for key, fill, make in optional
                                 if rng.random() < fill)]  # fmt: skip
    at, is_ordinary = divmod(number, _WRONG_EVERY)
    if not is_ordinary:
        key, value = _WRONG[at % len(_WRONG)]
        members = [*((k, v) for k, v in members if k != key), (key, value)]
    members.append(("remote_data", _remote(rng, product, (seats, used), shape)))
    return members


def _text(rng: random.Random, text: str) -> str:
    return json.dumps(text, ensure_ascii=rng.random() < 0.3)


def _quantity(rng: random.Random, number: int) -> str:
    return rng.choice([f"{number}.0", "1e2", str(number)]) if rng.random() < 0.01 else str(number)


def _seats(rng: random.Random, product: Product) -> tuple[int, int]:
    """Return how many seats there are, -1 without a limit, and how many have a user."""
    seats = round(math.exp(rng.uniform(_LOG_FEW, _LOG_MANY)))
    if not product.price:
        return UNLIMITED, seats
    if seats > 20 and rng.random() < 0.5:
        seats = round(seats, -1)
    if rng.random() < _OVER_ASSIGNED:
        return seats, seats + rng.randint(1, max(1, seats // 10))
    unused = rng.triangular(0, 2 * product.unused_share, product.unused_share)
    return seats, round(seats * (1 - unused))


def _price(rng: random.Random, price: float) -> str:
    """Return a price: that of the list, or one of a contract, at times with many digits."""
    if rng.random() < 0.03:
        return f"{(price or 1) / 7:.15g}"
    return f"{price * rng.choice([1, 1, 0.9, 0.85]):.2f}"


def _moment(rng: random.Random) -> str:
    day = f"20{rng.randrange(15, 26)}-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}"
    clock = f"{rng.randrange(24):02d}:{rng.randrange(60):02d}:{rng.randrange(60):02d}"
    forms = ["{}T{}Z", "{}T{}.123Z", "{}T{}.123456Z", "{}T{}.123456789Z", "{}T{}+05:30", "{} {}"]
    return '"' + rng.choice([forms[0], forms[0], forms[1], *forms]).format(day, clock) + '"'


def _products(rng: random.Random) -> str:
    products = []
    for number in range(60 if rng.random() < 0.04 else rng.randrange(6)):
        sku = ',"sku":"S-1"' if rng.random() < 0.02 else ""
        status = rng.choice(_PRODUCT_STATUSES)
        products.append(f'{{"id":"p{number}","name":"Plan {number}","status":"{status}"{sku}}}')
    return "[" + ",".join(products) + "]"


def _remote(rng: random.Random, product: Product, quantities: tuple[int, int], shape: Shape) -> str:
    seats, used = quantities
    plans = [
        {
            "servicePlanId": f"{rng.getrandbits(128):032x}",
            "servicePlanName": rng.choice(["EXCHANGE_S_STANDARD", "TEAMS1", "SHAREPOINTWAC"]),
            "provisioningStatus": rng.choice(["Success", "PendingInput", "Disabled"]),
        }
        for _ in range(rng.randrange(4))
    ]
    remote: dict[str, Any]
    if shape.integration in ("generic", "microsoft365"):
        remote = {
            "skuId": f"{rng.getrandbits(128):032x}",
            "skuPartNumber": product.code,
            "capabilityStatus": "Enabled",
            "consumedUnits": used,
            "prepaidUnits": {"enabled": seats, "suspended": 0, "warning": 0, "lockedOut": 0},
            "servicePlans": plans,
        }
    else:
        remote = {
            "subscription_id": f"{rng.getrandbits(128):032x}",
            "plan": product.code,
            "seats": {"purchased": seats, "used": used},
            "billing": {
                "interval": rng.choice(["month", "year"]),
                "auto_renew": rng.random() < 0.8,
            },
        }
    if rng.random() < 0.02:
        remote["bigNumber"] = rng.getrandbits(100)
    if shape.product:
        remote["product"] = shape.product
    if shape.organization_id:
        remote["organization"] = shape.organization_id
    return json.dumps(remote, separators=(",", ":"))
