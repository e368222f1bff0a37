"""Bodies, options and cuts from a source of randomness: what the engines are compared on."""

from __future__ import annotations

import json
import random
import re
from typing import Any, NamedTuple

import pyarrow as pa

from streamlic.emulator.records import license_json
from streamlic.resources.license_schema import LICENSE_SCHEMA
from streamlic.schema.columns import JSON_RESCUED, JSON_VALUE, RAW_SCHEMA, json_field
from streamlic.schema.values import TIMESTAMP
from tests.support.oracle import SURROGATE

ACCOUNT = "62f44730-dd91-461e-bd6a-aedd9e0ad79d"
LONG_NAME = "a_name_that_is_longer_than_what_is_compared_at_once"
NUMBERS = [
    *("0", "-0", "1", "-1.5", "12.0", "1e3", "1E+2", "1e-400", "-1e-400", "1e400", "0.000"),
    *("9007199254740993", "9007199254740993.0", "9223372036854775807", "9223372036854775808"),
    *("-9223372036854775808", "-9223372036854775809", "1.7976931348623157e308", "10.50"),
    *("1.7976931348623159e308", "0.10000000000000000001", "1" * 400, "3." + "14" * 200),
    *("0e999999", "-0.0", "100000000000000000000e-2", "0.00001e5", "1.0e0", "12345678901234567"),
    *("1234567.1234567", "5e-324", "2.4703282292062327e-324", "2.4703282292062328e-324", "1e22"),
    *("1e23", "123456789012345678901234567890e-20", "922337203685477580.7e1", "0.0e-5", "7" * 4301),
    *("9.223372036854775807e18", "1" + "0" * 30 + "e-30", "99999999999999.9999999", "12345678"),
    *("123456789", "0.5", "12.34", "99999999.9999999", "1e99999999999999999999"),
]
MOMENTS = [
    *(
        "2024-01-02T03:04:05Z",
        "2024-02-30",
        "1999-12-31 23:59:59+02:00",
        "2024-01-01",
        "0001-01-01",
    ),
    *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59.999999-00:01", "2024-01-01T24:00:00"),
    *("9999-12-31T23:59:59.999999", "2024-01-01T23:59:60", "2024-01-01t01:02z", "2024-13-01"),
    *("2024-01-01 01:02:03,5", "2024-01-01T01:02:03.1234567890123+0530", "2024-01-01T01:02:03+05"),
    *("2024-01-01T01", "2024-1-01", "0000-01-01", "2023-02-29", "2024-02-29T00:00:00", "12", ""),
    *("2100-02-29", "2000-02-29", "2024-01-01T00:00:00+24:00", "2024-01-01T00:00:00+23:60"),
    *("2024-01-01T00:00Zx", "2024-01-01T00:00:00.", "2024-01-01T00:00:00+", "2024-00-10"),
    *("\uff12\uff1024-01-01", "2024-01-01T00:00:00.123Z", "2024-01-01T00:00:00.123456789Z"),
]
KEYS = [
    *LICENSE_SCHEMA.names,
    *("sku", "a/b~c", "", "x\u00e9", "\U0001f600", "id\0", "idx", LONG_NAME, 'q"uote'),
    *("\ud800", "\udbff", "\udc00\ud83d", "\ufffd", "\\d800"),
    *("back\\slash", "n", "s", "l", "x", "t", "b", "q", "w", "deep", "y", "lost"),
]
_NAMES = [key for key in KEYS if "\0" not in key and not SURROGATE.search(key)]
_INNER = pa.struct([("w", pa.int64())])
OTHER_SCHEMA = pa.schema(
    [
        pa.field("n", pa.int64()),
        pa.field(
            "s",
            pa.struct(
                [("x", pa.float64()), ("t", TIMESTAMP), ("deep", pa.struct([("y", pa.bool_())]))]
            ),
        ),
        pa.field("l", pa.list_(pa.struct([("b", pa.bool_()), ("q", pa.list_(_INNER))]))),
        json_field("remote_data", JSON_VALUE),
        json_field("name", JSON_VALUE),
        pa.field('q"uote', pa.string()),
        pa.field("x\u00e9", pa.string()),
        pa.field(LONG_NAME, pa.int64()),
        json_field("lost", JSON_RESCUED),
    ]
)
_SCALARS = (pa.string(), pa.int64(), pa.float64(), pa.bool_(), TIMESTAMP)
SCHEMAS = (LICENSE_SCHEMA, LICENSE_SCHEMA, LICENSE_SCHEMA, OTHER_SCHEMA, RAW_SCHEMA)
_ENDS = [
    *("", ',"next_cursor":"x\\ud800"', ',"next_cursor":5,"result_count":-3', ',"x":[{"y":"\\n"}]'),
    *(',"is_partial_response":true,"result_count":null', ',"result_count":12345678901234567890'),
    *(',"next":{"a":[]},"prev_cursor":1.5', ',"next_cursor":"a","next_cursor":null'),
    *(',"error":""', ',"errors":[]', ',"statusCode":200,"success":true', ',"statusCode":502'),
    *(',"error":"x"', ',"errors":[{"message":"\\u00e9"}]', ',"truto_is_remote_error":true'),
    *(',"success":false,"message":"no"', ',"result":null', ',"statusCode":4e2,"error":null'),
    *(',"next_cursor":"x","limit":10', ',"limit":10'),
]  # fmt: skip
_REPORTS = [
    *('"statusCode":500,"error":"x"', '"id":null,"error":"x","statusCode":4.5e2'),
    *('"truto_is_remote_error":true', '"statusCode":500,"error":""', '"statusCode":200,"error":1'),
    *('"id":[],"statusCode":500,"error":"x"', '"i\\u0064":"a","statusCode":500,"error":"x"'),
    *('"status\\u0043ode":500,"error":"x"', '"x":{"statusCode":500,"error":"x"}'),
    *('"truto_is_remote_error":true,"truto_is_remote_error":false', '"statusCode":"500"'),
    *('"error":"x","message":"m"', '"success":false', '"statusCode":"500","message":"\\ud800"'),
    *('"error":{"a":1},"message":null,"name":null', '"name":"n","success":false'),
    '"id":"a","id":null,"message":"m","error":1',
]
_MORE = [
    *("", "", ',"next":0,"paging":{"next":{"after":1}}', ',"links":[{"rel":"next","href":"u"}]'),
    *(',"hasMore":true', ',"is_last":false', ',"next_date":"x","_links":{"next":{}}'),
]
_MEMBER_VALUE = re.compile(r'(?<=[:,\[])(?:"[^"\\]*"|-?[0-9][0-9.eE+-]*|true|false|null)(?=[,}\]])')
_DAMAGE = [b"\\ud800", b"\\u00", b'"', b",", b"\xe2\x82\xac", b"[", b"{", b"}", b"]", b"1", b"null"]
_BYTES = (
    b'{}[]",:\\ \n\t0123456789.eE+-utrfalsn\x0c\x00x\xff\xc3\xa9\xe2\x82\xed\xa0\xf4\x90\xef\xbb'
)


class Case(NamedTuple):
    """A body, how it is to be read, and where it is cut."""

    body: bytes
    schema: pa.Schema
    options: dict[str, Any]
    cuts: list[int]


def any_schema(rng: random.Random) -> pa.Schema:
    """Return a schema of any columns that a decoder can fill."""
    names = rng.sample(_NAMES, rng.randrange(1, len(_NAMES)))
    if rng.random() < 0.1:
        names = [*names, *(f"f{i}" for i in range(70))]
        rng.shuffle(names)
    fields = [
        json_field(name, JSON_VALUE) if rng.random() < 0.1 else pa.field(name, _any_type(rng, 3))
        for name in names[1:]
    ]
    fields.insert(rng.randrange(len(fields) + 1), json_field(names[0], JSON_RESCUED))
    return pa.schema(fields)


def _any_type(rng: random.Random, depth: int) -> pa.DataType:
    if depth == 0 or rng.random() < 0.7:
        return rng.choice(_SCALARS)
    names = rng.sample(_NAMES, rng.randrange(1, 5))
    inner = pa.struct([pa.field(name, _any_type(rng, depth - 1)) for name in names])
    return pa.list_(inner) if rng.random() < 0.5 else inner


def case(rng: random.Random) -> Case:
    """Return a case: half of the bodies are valid, half were damaged."""
    body, options = _Writer(rng).body()
    if rng.random() < 0.5:
        body = _damaged(body, rng)
    # Most of the compiled engine's short cuts are taken only where enough follows.
    body += b" " * rng.choice([0, 0, 150, 300])
    for name, chance, low, high in (
        ("batch_rows", 0.3, 1, 5),
        ("batch_bytes", 0.3, 1, 300),
        ("max_depth", 0.2, 1, 8),
        ("max_record_bytes", 0.15, 2, 400),
        ("strict", 0.15, True, 2),
        ("max_rescued", 0.2, 1, 6),
    ):
        if rng.random() < chance:
            options[name] = rng.randrange(low, high)
    count = rng.choice([0, 1, 2, 5, len(body)])
    cuts = sorted(rng.randrange(len(body) + 1) for _ in range(min(count, len(body))))
    if rng.random() < 0.1:
        cuts = list(range(1, len(body)))
    schema = any_schema(rng) if rng.random() < 0.3 else rng.choice(SCHEMAS)
    return Case(body, schema, options, cuts)


class _Writer:
    """Writes JSON with white space, escapes, misfits, and keys that repeat."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def body(self) -> tuple[bytes, dict[str, Any]]:
        rng = self._rng
        count = rng.randrange(7) if rng.random() < 0.97 else rng.randrange(30, 90)
        records = (
            self._alike(count) if rng.random() < 0.3 else [self._record() for _ in range(count)]
        )
        if records and rng.random() < 0.03:
            self._stretch(records)
        rows = "[" + self._gap() + (self._gap() + "," + self._gap()).join(records) + "]"
        shape = rng.randrange(7)
        if shape == 0:
            return rows.encode(), {}
        if shape == 1:
            more = rng.choice(_MORE)
            text = f'{{"a":1,"@odata.next":{self._value(1)},"data":{{"x":2,"items":{rows}{more}}}}}'
            return text.encode(), {"rows_at": "data.items"}
        if shape == 2:
            keyed = ",".join(f"{self._string(rng.choice(KEYS))}:{one}" for one in records)
            options = (
                {"key_by": rng.choice([name for name in _NAMES if name])}
                if rng.random() < 0.9
                else {}
            )
            if rng.random() < 0.2:
                keyed = ",".join([part for part in (keyed, rng.choice(_REPORTS)) if part])
            return f'{{"result":{{{keyed}}}}}'.encode(), options
        if shape == 3:
            lines = rng.choice(["\n", "\r\n", "\n\n "]).join(
                self._line(one).replace("\n", " ") for one in records
            )
            return (lines + rng.choice(["", "\n"])).encode(), {"ndjson": True}
        if shape == 4 and rng.random() < 0.3:
            rows = rng.choice(["null", "null", "{}", "5"])
        if rng.random() < 0.1:
            return f"{{{rng.choice(_ENDS)[1:] or rng.choice(_REPORTS)}}}".encode(), {}
        start = f'{self._gap()}{{{self._gap()}"result"{self._gap()}:{self._gap()}'
        return f"{start}{rows}{self._gap()}{rng.choice(_ENDS)}}}".encode(), {}

    def _line(self, record: str) -> str:
        """Return a record, an envelope, or one of nothing but facts, as a line may be."""
        rng = self._rng
        chance, end = rng.random(), rng.choice(_ENDS)
        if chance < 0.5:
            return record
        if chance < 0.7:
            more = rng.choice(["", f",{self._record()}"])
            return f'{{{self._gap()}"result"{self._gap()}:{self._gap()}[{record}{more}]{end}}}'
        if chance < 0.85:
            value = rng.choice([f"[{record}]", "[]", "null", record])
            return f'{{{self._gap()}{end[1:] or rng.choice(_REPORTS)},"result":{value}}}'
        return f"{{{end[1:]}}}"

    def _record(self) -> str:
        rng = self._rng
        if rng.random() < 0.01:
            return f"{{{rng.choice(_REPORTS)}}}"
        if rng.random() < 0.2:
            return license_json(7, ACCOUNT, rng.randrange(4000)).decode()
        return self._object(3) if rng.random() < 0.9 else self._value(2)

    def _alike(self, count: int) -> list[str]:
        """Return records with the same keys and white space, as most have, some values changed."""
        text = self._record()
        return [
            _MEMBER_VALUE.sub(
                lambda found: self._value(1) if self._rng.random() < 0.2 else found[0], text
            )
            for _ in range(count)
        ]

    def _stretch(self, records: list[str]) -> None:
        """Put more between two records than the compiled engine looks ahead for text."""
        rng = self._rng
        at, size = rng.randrange(len(records)), rng.choice([100, 300, 9_000])
        empty = f"{{{' ' * rng.choice([0, 0, 0, size])}}}"
        count = 2 if len(empty) > 2 else rng.randrange(size // 2)
        filled = records[at : at + 1] if rng.random() < 0.5 else []
        inner = [*filled, *[empty] * count, *records[at : at + 1]]
        if rng.random() < 0.5:
            inner = [f'{{"{rng.choice(["l", "products"])}":[{",".join(inner)}]}}']
        records[at : at + 1] = inner

    def _gap(self) -> str:
        return self._rng.choice(["", "", "", "", "", " ", "\n\t", "  \r\n"])

    def _string(self, text: str) -> str:
        chance = self._rng.random()
        if chance < 0.6 and not SURROGATE.search(text):
            return json.dumps(text, ensure_ascii=False)
        if chance < 0.8:
            return json.dumps(text)
        if chance < 0.9:
            return '"' + "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else c for c in text) + '"'
        return json.dumps(
            text + self._rng.choice(["\ud800", "\udc00\ud800", "x\ud83dy", "\\", "/"])
        )

    def _value(self, depth: int) -> str:
        rng = self._rng
        chance = rng.random()
        if chance < 0.25:
            return rng.choice(NUMBERS)
        if chance < 0.5:
            long = [
                letter * rng.randrange(100) for letter in ("x", "\u00e9", "\u65e5", "\U0001f600")
            ]
            return self._string(rng.choice(MOMENTS + KEYS + long))
        if chance < 0.6 or depth <= 0:
            return rng.choice(["true", "false", "null"])
        if chance < 0.75:
            values = [self._value(depth - 1) for _ in range(rng.randrange(4))]
            return "[" + self._gap() + (self._gap() + "," + self._gap()).join(values) + "]"
        return self._object(depth - 1)

    def _object(self, depth: int) -> str:
        rng = self._rng
        members = []
        for _ in range(rng.randrange(9)):
            key = rng.choice(KEYS)
            value = self._fitting(key, depth) if rng.random() < 0.6 else self._value(depth)
            members.append(
                f"{self._gap()}{self._string(key)}{self._gap()}:{self._gap()}{value}{self._gap()}"
            )
        return "{" + (",".join(members) or self._gap()) + "}"

    def _fitting(self, key: str, depth: int) -> str:
        """Return a value that fits the column of that name, or nearly."""
        rng = self._rng
        if depth <= 0:
            return "1"
        if key in ("available_quantity", "assigned_quantity", "n", "w", LONG_NAME):
            return str(rng.randrange(-5, 10 ** rng.randrange(1, 19)))
        if key in ("unit_amount", "x"):
            return rng.choice(NUMBERS)
        if key in ("is_paid", "b", "y"):
            return rng.choice(["true", "false"])
        if key.endswith("_at") or key == "t":
            return json.dumps(rng.choice(MOMENTS), ensure_ascii=False)
        if key in ("products", "roles", "l", "q"):
            usual = ["null", '{"id":"p","name":"x","status":"y"}', '{"b":true,"q":[{"w":1}]}']
            elements = [
                rng.choice([*usual, self._object(depth - 1)]) for _ in range(rng.randrange(4))
            ]
            return "[" + ",".join(elements) + "]"
        if key in ("s", "deep", "remote_data"):
            usual = ['{"x":1.5,"t":"2024-01-01"}', "null", '{"x":"","deep":{"y":true}}']
            return rng.choice([*usual, self._object(depth - 1)])
        return self._string(rng.choice(KEYS))


def _damaged(body: bytes, rng: random.Random) -> bytes:
    bad = bytearray(body)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(bad) + 1)
        chance = rng.random()
        if chance < 0.3:
            del bad[at : at + rng.randrange(1, 4)]
        elif chance < 0.6 and at < len(bad):
            bad[at] = rng.choice(_BYTES)
        elif chance < 0.8:
            bad[at:at] = rng.choice(_DAMAGE)
        else:
            del bad[at:]
    return bytes(bad)
