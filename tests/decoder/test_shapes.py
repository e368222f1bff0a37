"""What the fast engine reads in bulk: unknown fields, arrays of numbers, escapes, long values.

Each body is decoded by all engines and instruction sets, whose answers must be equal (`outcome`).
"""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from streamlic.decoder import open_decoder
from streamlic.errors import DecodeError
from tests.support.oracle import check_rows, decode, outcome, parsed

BLOCK = 64  # bytes that the fast engine looks at together
AFTER = ' ,"status":"active"}]'


def listing(value: str, *, before: str = "", after: str = AFTER + " " * 80) -> bytes:
    """Return a listing with a value in the column that keeps any JSON."""
    return f'[{{"id":"a","remote_data":{before}{value}{after}'.encode()


def remote_data(body: bytes) -> Any:
    table, _ = decode(body)
    return table["remote_data"][0].as_py()


@pytest.mark.parametrize(
    "number",
    [
        "0",
        "-0",
        "7",
        "-12",
        "0.5",
        "-10.25",
        "1234567890123456789012345678901234",
        "3." + "14" * 40,
    ],
)
def test_an_array_of_numbers_is_kept_as_it_is(number: str) -> None:
    for size in range(1, 40):
        text = f"[{','.join([number] * size)}]"
        for padding in ("", " " * (size % 7)):
            assert remote_data(listing(text, before=padding)) == text


@pytest.mark.parametrize(
    "wrong",
    [
        "01",
        "-",
        "--1",
        "1-",
        ".5",
        "1.",
        "1..2",
        "1.2.3",
        "-.5",
        "00.5",
        "-01",
        "1.-2",
        "",
        "+1",
        "e5",
    ],
)
def test_a_wrong_number_is_found_anywhere_in_an_array(wrong: str) -> None:
    """At each place among the 64 bytes, at the end of the array and before another number."""
    for size in range(1, BLOCK + 4):
        for numbers in (["1" * size, wrong, *["8"] * 90], ["9"] * size + [wrong]):
            body = listing(f"[{','.join(numbers)}]")
            kind, position, *_ = outcome(body)
            assert kind == "DecodeError"
            with pytest.raises(json.JSONDecodeError) as strict:
                json.loads(body)
            assert position >= strict.value.pos - len(wrong)


@pytest.mark.parametrize("other", ["1e5", "-2.5E-3", '"x"', "null", "[1,2]", '{"a":1}', " 4", "5 "])
def test_an_array_may_have_other_values_between_numbers(other: str) -> None:
    for size in range(1, BLOCK + 4):
        text = f"[{'1' * size},-2.5,{other},{','.join(['3'] * 70)},{other}]"
        assert remote_data(listing(text)) == text


def test_random_arrays_of_number_bytes_have_one_verdict() -> None:
    rng = random.Random(5)
    for _ in range(400):
        text = "".join(rng.choices("0123456789.-,,]e ", k=rng.randrange(1, 130)))
        outcome(listing(f"[1,{text}]"))


@pytest.mark.parametrize("digits", range(1, 21))
def test_an_integer_of_any_length_is_exact(digits: int) -> None:
    number = int("9182736450918273645091"[:digits])
    for value in (number, -number):
        body = f'[{{"id":"a","available_quantity":{value},"status":"active"}}]{" " * 64}'.encode()
        table, envelope = decode(body)
        fits = -(2**63) <= value < 2**63
        assert table["available_quantity"][0].as_py() == (value if fits else None)
        assert envelope.rescued == (not fits)


ESCAPES = ["\\n", "\\\\", '\\"', "\\/", "\\u0041", "\\u00e9", "\\u20ac", "\\ud83d\\ude00",
           "\\ud800", "\\udc00", "\\ud800\\ud83d\\ude00", "\\udc00\\ud83d"]  # fmt: skip


def test_escapes_are_unescaped_in_columns_and_kept_in_json() -> None:
    rng = random.Random(6)
    for _ in range(60):
        text = "".join(
            rng.choice(ESCAPES) + "x" * rng.choice([0, 0, 1, 5, 40, 200]) for _ in range(9)
        )
        body = f'[{{"id":"a","name":"{text}","remote_data":"{text}","{text}":"{text}"}}]'.encode()
        table, _ = decode(body)
        check_rows(table.to_pylist(), parsed(body))
        cuts = sorted(rng.sample(range(1, len(body)), 3))
        assert outcome(body, cuts) == outcome(body)


@pytest.mark.parametrize("wrong", ["\\q", "\\u12g4", "\\u", "\\ud83d\\u12x4", "\x01"])
def test_a_wrong_escape_is_found_after_many_that_are_right(wrong: str) -> None:
    for size in range(12):
        for text in ("\\n" * size + wrong, "\\n" + "y" * size * 9 + wrong + "\\n"):
            for field in ("name", "remote_data", "unknown"):
                kind, *_ = outcome(f'[{{"id":"a","{field}":"{text}zz"}}]'.encode())
                assert kind in ("DecodeError", "TruncatedBody")


def unknown(keys: list[str], rng: random.Random) -> str:
    values = ['"text"', "12", "null", '{"a":[1]}', '"a\\nb"', " 5", "[]", '"\\ud800"']
    members = ",".join(f'"{key}":{rng.choice(values)}' for key in keys)
    return f'{{"id":"a",{members},"status":"active"}}'


@pytest.mark.parametrize("count", [1, 2, 30, 64, 65, 199, 200, 201, 202, 300])
def test_unknown_fields_are_rescued_however_many_and_in_any_order(count: int) -> None:
    rng = random.Random(count)
    keys = [f"field_{i}" + "/~"[i % 2 : i % 5 == 0] for i in range(count)]
    records = []
    for turn in range(5):
        records.append(unknown(keys, rng))
        if turn == 2:
            rng.shuffle(keys)
    body = f"[{','.join(records)}]".encode()
    table, envelope = decode(body)
    check_rows(table.to_pylist(), parsed(body))
    assert envelope.rescued == 5 * count
    assert outcome(body, [len(body) // 3, len(body) // 2]) == outcome(body)


def test_a_key_is_unknown_only_where_it_is() -> None:
    """A product has no quantity, and a license no element."""
    record = (
        '{"x":1,"id":"a","available_quantity":3,"products":[{"available_quantity":4,"x":5,"id":"p"},'
        '{"available_quantity":6,"x":7,"id":"q"}],"x2":8,"available_quantity2":9}'
    )
    body = f"[{','.join([record] * 4)}]".encode()
    table, _ = decode(body)
    check_rows(table.to_pylist(), parsed(body))
    assert table["available_quantity"].to_pylist() == [3] * 4


def test_unknown_fields_that_repeat_in_one_record_are_found() -> None:
    once = '{"id":"a","one":1,"two":2,"three":3}'
    for other in (
        '{"id":"a","one":1,"two":2,"one":3}',
        '{"id":"a","one":1, "one":2}',
        '{"id":"a","one":1,"one" :2,"two":[]}',
        '{"id":"a","one":1,"\\u006fne":2}',
    ):
        body = f"[{once},{once},{other},{once},{other},{other}]".encode()
        table, _ = decode(body)
        check_rows(table.to_pylist(), parsed(body))


LONG = {
    "a record": '{"result":[{"id":"a","remote_data":[VALUE]},{"id":"b"}]}',
    "a value of the envelope": '{"stats":{"all":[VALUE]},"result":[{"id":"a"},{"id":"b"}]}',
    "rows by key": '{"result":{"a":{"id":"a","remote_data":[VALUE]},"b":{"id":"b"}}}',
    "lines": '{"id":"a","remote_data":[VALUE]}\n{"id":"b"}\n',
}
OPTIONS: dict[str, dict[str, Any]] = {"lines": {"ndjson": True}, "rows by key": {"key_by": "id"}}


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("text", ["plain", "]}", '\\"]}', "\\\\", "[{", '\\\\\\"{'])
def test_a_long_value_is_read_in_small_chunks(name: str, text: str) -> None:
    """Also with brackets and quotes in its strings, which do not end the value."""
    value = ",".join(f'{{"n":{i},"text":"{text}"}}' for i in range(400))
    body = LONG[name].replace("VALUE", value).encode()
    whole = outcome(body, **OPTIONS.get(name, {}))
    assert [row["id"] for row in whole[0]] == ["a", "b"]
    for size in (37, 1_000, 4_096, 9_001):
        assert outcome(body, list(range(size, len(body), size)), **OPTIONS.get(name, {})) == whole


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("wrong", ["]", "}", '"', "x", "{", '\\"', ",,"])
def test_what_is_wrong_in_a_long_value_has_one_verdict(name: str, wrong: str) -> None:
    value = ",".join(f'{{"n":{i},"text":"x"}}' for i in range(400))
    options = OPTIONS.get(name, {})
    for place in (3, 2_000, len(value)):
        broken = value[:place] + wrong + value[place:]
        body = LONG[name].replace("VALUE", broken).encode()
        whole = outcome(body, **options)
        for size in (1_000, 4_096):
            assert outcome(body, list(range(size, len(body), size)), **options) == whole


@pytest.mark.parametrize("engine", ["reference", "auto"])
def test_a_value_without_end_is_refused_at_its_bound(engine: str) -> None:
    """Its brackets never close, or its last quote is missing."""
    for start in (b'[{"id":"a","remote_data":[', b'[{"id":"a","name":"', b'{"x":[{"y":"'):
        decoder = open_decoder(engine=engine, max_record_bytes=100_000)
        with pytest.raises(DecodeError, match="at most 100000 bytes"):
            for chunk in [start, *[b"1," * 500 if start.endswith(b"[") else b"x" * 1_000] * 120]:
                decoder.feed(chunk)
