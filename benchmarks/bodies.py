"""Bodies of licenses, made from a seed: any kind, any size, the same bytes every time.

Rules:
1. ``licenses`` and ``licenses-plain`` are the emulator's own records, wrong types included. In all
   other kinds every value fits its column, so that readers with no rule for misfits can be timed.
2. A record is one line of JSON, so that the same records make an envelope and an NDJSON file.
3. A pool of records is made once and repeated with ids of its own: a gigabyte costs seconds.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from streamlic.emulator.records import CYCLE, Shape, license_json

ACCOUNT = "62f44730-dd91-461e-bd6a-aedd9e0ad79d"
SEED = 7
_PLAIN = Shape(frozenset({"remote_data"}))
_WORDS = ["Exchange", "Teams", "Visio", "Intune", "Power BI", "Copilot", "Defender", "Project"]
_SCRIPTS = [
    "会議室ライセンス管理",
    "Лицензия базовая",
    "Équipe créative",
    "רישיון",
    "😀🚀🎉",
    "अनुज्ञप्ति",
]
_HARD = ['a "quoted" word', "C:\\share\\x", "line\nbreak\ttab", "café €", "smile 😀", "</b>"]
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
_KNOWN = {
    "id": str,
    "name": str,
    "description": str,
    "currency": str,
    "status": str,
    "available_quantity": int,
    "assigned_quantity": int,
    "unit_amount": float,
    "is_paid": bool,
    "products": list,
    "roles": list,
    "remote_data": dict,
    "created_at": _MOMENT,
    "updated_at": _MOMENT,
}


@dataclass(frozen=True)
class Kind:
    """A kind of body. ``records`` yields JSON texts for a seed, without end."""

    about: str
    records: Callable[[int], Iterator[bytes]]
    is_mixed: bool = False
    """Whether some values have another type than their column."""


@dataclass(frozen=True)
class Body:
    """A body on disk: as an envelope, and its records as newline-delimited JSON."""

    kind: str
    envelope: Path
    lines: Path
    bytes: int
    rows: int


def make_body(kind: str, size_bytes: int, directory: Path, *, seed: int = SEED) -> Body:
    """Write a body of at least ``size_bytes`` in both forms; return its paths."""
    envelope = directory / f"{kind}-{size_bytes}.json"
    lines = directory / f"{kind}-{size_bytes}.ndjson"
    size = rows = 0
    with envelope.open("wb") as one, lines.open("wb") as other:
        one.write(b'{"result":[')
        for record in KINDS[kind].records(seed):
            one.write(b"," + record if rows else record)
            other.write(record + b"\n")
            rows += 1
            size += len(record) + 1
            if size >= size_bytes:
                break
        one.write(b'],"next_cursor":null,"result_count":%d}' % rows)
    return Body(kind, envelope, lines, envelope.stat().st_size, rows)


def emulated_bytes_per_record(shape: Shape | None = None) -> float:
    """Return how many bytes the emulator's records take on average, the comma included."""
    texts = (license_json(SEED, ACCOUNT, i, shape or Shape()) for i in range(CYCLE))
    return sum(len(text) + 1 for text in texts) / CYCLE


def _emulated(shape: Shape) -> Callable[[int], Iterator[bytes]]:
    return lambda seed: (license_json(seed, ACCOUNT, i, shape) for i in count())


def _emulated_clean(shape: Shape) -> Callable[[int], Iterator[bytes]]:
    """Return the emulator's records without those that hold anything unexpected."""

    def records(seed: int) -> Iterator[bytes]:
        texts = ((i, license_json(seed, ACCOUNT, i, shape)) for i in range(CYCLE))
        clean = [i for i, text in texts if _is_clean(json.loads(text))]
        return (license_json(seed, ACCOUNT, start + i, shape) for start in count(0, CYCLE)
                for i in clean)  # fmt: skip

    return records


def _is_clean(record: dict[str, Any]) -> bool:
    return (
        all(_fits(key, value) for key, value in record.items())
        and all(
            product.keys() <= {"id", "name", "status"} for product in record.get("products", [])
        )
        and "bigNumber" not in record.get("remote_data", {})
    )


def _fits(key: str, value: Any) -> bool:
    expected = _KNOWN.get(key)
    if isinstance(expected, re.Pattern):
        return isinstance(value, str) and bool(expected.fullmatch(value))
    return expected is not None and type(value) is expected


Fields = dict[str, Any]


def _pooled(
    make: Callable[[random.Random], Fields], *, pool: int = 512, is_ascii: bool = False
) -> Callable[[int], Iterator[bytes]]:
    """Return records of ``make``, each with an id of its own, from a pool that repeats."""

    def records(seed: int) -> Iterator[bytes]:
        rng = random.Random(seed)  # noqa: S311  (seeded randomness, not cryptography)
        texts = [
            json.dumps(make(rng), separators=(",", ":"), ensure_ascii=is_ascii).encode()[1:]
            for _ in range(pool)
        ]
        for number in count():
            tail = texts[number % pool]
            yield b'{"id":"lic-%09d"%b%b' % (number, b"" if tail == b"}" else b",", tail)

    return records


def _common(rng: random.Random) -> Fields:
    return {
        "name": rng.choice(_WORDS),
        "available_quantity": rng.randrange(1, 500),
        "assigned_quantity": rng.randrange(1, 500),
        "is_paid": rng.random() < 0.75,
        "status": rng.choice(["active", "inactive"]),
    }


def _wide(rng: random.Random, *, products: int = 12) -> Fields:
    """Make every field the schema knows, with long lists."""
    return {
        **_common(rng),
        "description": " ".join(rng.choices(_WORDS, k=12)),
        "unit_amount": rng.randrange(100, 6000) / 100,
        "currency": rng.choice(["USD", "EUR", "GBP"]),
        "products": [
            {"id": f"p{i}", "name": rng.choice(_WORDS), "status": "active"} for i in range(products)
        ],
        "roles": [{"id": f"r{i}", "name": rng.choice(_WORDS)} for i in range(6)],
        "created_at": f"20{rng.randrange(15, 26)}-03-{rng.randrange(1, 29):02d}T10:20:30Z",
        "updated_at": f"20{rng.randrange(15, 26)}-04-{rng.randrange(1, 29):02d}T10:20:30.123Z",
        "remote_data": {"skuId": f"{rng.getrandbits(128):032x}", "units": rng.randrange(900)},
    }


def _narrow(rng: random.Random) -> Fields:
    return {"name": rng.choice(_WORDS), "available_quantity": rng.randrange(500)}


def _text(rng: random.Random, words: list[str], *, size: int) -> Fields:
    def text() -> str:
        return " ".join(rng.choices(words, k=size))

    return {**_common(rng), "name": text(), "description": text(), "remote_data": {"note": text()}}


def _numbers(rng: random.Random) -> Fields:
    return {
        "available_quantity": rng.randrange(10 ** rng.randrange(1, 15)),
        "assigned_quantity": -rng.randrange(10 ** rng.randrange(1, 15)),
        "unit_amount": rng.uniform(0, 10000),
        "remote_data": {
            "daily": [rng.randrange(10**6) for _ in range(30)],
            "cost": [rng.uniform(-1e9, 1e9) for _ in range(30)],
        },
    }


def _deep(rng: random.Random) -> Fields:
    nested: Any = {"leaf": rng.randrange(1000)}
    for level in range(30):
        nested = {"level": level, "children": [nested]}
    return {**_common(rng), "remote_data": nested}


def _unknown(rng: random.Random) -> Fields:
    return {**_common(rng), **{f"field_{i}": rng.choice(_WORDS) for i in range(30)}}


def _distinct(seed: int) -> Iterator[bytes]:
    """Yield records of which no two have the same products and vendor's object."""
    rng = random.Random(seed)  # noqa: S311  (seeded randomness, not cryptography)
    for number in count():
        fields = _common(rng)
        if rng.random() < 0.8:
            day = f"20{rng.randrange(15, 26)}-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}"
            fields["created_at"] = f"{day}T10:{rng.randrange(60):02d}:{rng.randrange(60):02d}Z"
        fields["products"] = [
            {
                "id": f"{rng.getrandbits(64):016x}",
                "name": rng.choice(_WORDS),
                "status": rng.choice(["active", "inactive", "pending"]),
            }
            for _ in range(rng.randrange(5))
        ]
        fields["remote_data"] = {
            "skuId": f"{rng.getrandbits(128):032x}",
            "capabilityStatus": "Enabled",
            "prepaidUnits": {"enabled": fields["available_quantity"], "suspended": 0, "warning": 0},
            "servicePlans": [
                {
                    "servicePlanId": f"{rng.getrandbits(128):032x}",
                    "servicePlanName": rng.choice(_WORDS),
                    "provisioningStatus": "Success",
                }
                for _ in range(rng.randrange(4))
            ],
        }
        yield json.dumps({"id": f"lic-{number:09d}", **fields}, separators=(",", ":")).encode()


def _huge(rng: random.Random) -> Fields:
    plans = [{"plan": f"{rng.getrandbits(128):032x}", "name": rng.choice(_WORDS)}
             for _ in range(8000)]  # fmt: skip
    long = " ".join(rng.choices(_WORDS, k=30_000))
    return {**_wide(rng, products=4000), "description": long, "remote_data": {"plans": plans}}


KINDS = {
    "licenses": Kind("as the emulator makes them", _emulated(Shape()), is_mixed=True),
    "licenses-plain": Kind("the same without remote_data", _emulated(_PLAIN), is_mixed=True),
    "clean": Kind("the emulator's without misfits", _emulated_clean(Shape())),
    "clean-plain": Kind("the same without remote_data", _emulated_clean(_PLAIN)),
    "distinct": Kind("no two records alike", _distinct),
    "wide": Kind("every field, long lists", _pooled(_wide)),
    "narrow": Kind("id, name and a quantity", _pooled(_narrow)),
    "unicode": Kind("long texts in many scripts", _pooled(lambda r: _text(r, _SCRIPTS, size=8))),
    "escapes": Kind("long texts full of escapes",
                    _pooled(lambda r: _text(r, _HARD, size=8), is_ascii=True)),
    "numbers": Kind("numbers of all lengths", _pooled(_numbers)),
    "deep": Kind("remote_data nested 60 deep", _pooled(_deep)),
    "unknown": Kind("30 fields nobody knows", _pooled(_unknown)),
    "tiny": Kind("an id and nothing else", _pooled(lambda _: {}, pool=1)),
    "huge": Kind("records of about 1 MB", _pooled(_huge, pool=4)),
}  # fmt: skip
