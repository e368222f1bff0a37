"""Generated bodies: a result or DecodeError, nothing else; the same at every cut; json agrees."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.oracle import SURROGATE, check_rows, outcome, parsed


class _Raw:
    """JSON text that json.dumps would not write itself."""

    def __init__(self, text: str) -> None:
        self.text = text


class _Members:
    """An object's members, whose keys may repeat."""

    def __init__(self, members: list[tuple[str, Any]]) -> None:
        self.members = members


NUMBERS = st.sampled_from(
    [
        *["0", "-0", "1", "-1.5", "12.0", "1e3", "1E+2", "1e-400", "1e400", "9007199254740993"],
        *["9223372036854775807", "9223372036854775808", "-9223372036854775808"],
        *["1.7976931348623157e308", "0.10000000000000000001", "1" * 400, "3." + "14" * 200],
    ]
).map(_Raw)
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["2024-01-02T03:04:05Z", "2024-02-30", "1999-12-31 23:59:59+02:00", "12", ""]),
)
KEYS = st.one_of(
    st.sampled_from(["id", "name", "available_quantity", "unit_amount", "is_paid", "products"]),
    st.sampled_from(["roles", "created_at", "remote_data", "status", "sku", "a/b~c", ""]),
    st.text(max_size=3),
    st.sampled_from(["\ud800", "\udc00\ud800", "a\udbff", "a\\dbff", "\ufffd"]),
)


SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.lists(st.tuples(KEYS, inner), max_size=5).map(_Members)
    ),
    max_leaves=12,
)


RECORDS = st.lists(
    st.one_of(st.lists(st.tuples(KEYS, VALUES), max_size=8).map(_Members), SCALARS), max_size=6
)


def written(value: Any, rng: random.Random) -> str:
    """Write JSON with white space and escapes wherever they are allowed."""
    gap = rng.choice(["", "", "", " ", "\n\t"])
    if isinstance(value, _Raw):
        text = value.text
    elif isinstance(value, _Members):
        members = [f"{gap}{written(k, rng)}{gap}:{written(v, rng)}" for k, v in value.members]
        text = "{" + ",".join(members) + gap + "}"
    elif isinstance(value, list):
        text = "[" + ",".join(written(one, rng) for one in value) + gap + "]"
    else:
        text = json.dumps(
            value, ensure_ascii=rng.random() < 0.5 or bool(SURROGATE.search(str(value)))
        )
        if isinstance(value, str) and rng.random() < 0.2:
            text = '"' + "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else c for c in value) + '"'
    return gap + text


def cut_at_random(body: bytes, rng: random.Random) -> list[int]:
    return sorted(rng.randrange(len(body) + 1) for _ in range(rng.randrange(6)))


def check_valid(records: list[Any], seed: int) -> None:
    rng = random.Random(seed)
    text = written(records, rng)
    body = f'{{"next_cursor":"x","result":{text}}}'.encode()
    most = rng.choice([1, 2, 3, 5, 100])
    rows, _, envelope = outcome(
        body, cut_at_random(body, rng), batch_rows=rng.randrange(1, 9), max_rescued=most
    )
    check_rows(rows, parsed(text), most)
    assert envelope.next_cursor == "x"


@given(RECORDS, st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_valid_bodies_become_what_json_says(records: list[Any], seed: int) -> None:
    check_valid(records, seed)


ALPHABET = st.sampled_from([*'{}[]",:\\ \n\t0123456789.eE+-utrfalsn\x0c\x00x', "é", "\\ud800"])


@given(st.one_of(RECORDS.map(lambda r: written(r, random.Random(1))), st.just("[{}]")), st.data())
@settings(deadline=None)
@example("[{}]", None)
def test_broken_bodies_are_refused_where_json_refuses_them(text: str, data: Any) -> None:
    """Change a few characters of a valid body: streamlic takes it if, and only if, json does."""
    if data is not None:
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(text)))
            dropped = data.draw(st.integers(0, 2))
            text = (
                text[:at]
                + "".join(data.draw(st.lists(ALPHABET, max_size=3)))
                + text[at + dropped :]
            )
    body = text.encode()
    whole = outcome(body)
    rng = random.Random(text)
    assert outcome(body, cut_at_random(body, rng)) == whole
    assert outcome(body, list(range(1, len(body)))) == whole
    try:
        value = json.loads(text, parse_constant=_refused, parse_int=str, parse_float=str)
    except ValueError:
        assert isinstance(whole[1], int)
    else:
        is_rows = isinstance(value, list) or (isinstance(value, dict) and "result" in value)
        if isinstance(value, list):
            assert len(whole[0]) == len(value)
        elif not is_rows:
            assert isinstance(whole[1], int)


@given(st.binary(max_size=60), st.booleans())
@example(b"\xef\x80\x00", False)
@example(b"3", True)
@example(b"\xef\xbb\x00", True)
@settings(deadline=None)
def test_any_bytes_give_a_result_or_a_decode_error(body: bytes, ndjson: bool) -> None:
    whole = outcome(body, ndjson=ndjson)
    for cut in range(len(body)):
        assert outcome(body, [cut], ndjson=ndjson) == whole


def _refused(name: str) -> Any:
    raise ValueError(name)


@pytest.mark.slow
@settings(max_examples=5_000, deadline=None)
@given(RECORDS, st.integers(0, 2**32))
def test_many_valid_bodies_become_what_json_says(records: list[Any], seed: int) -> None:
    check_valid(records, seed)
