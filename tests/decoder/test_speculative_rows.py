"""Speculative splitting gives the same rows, verdicts and texts as exact splitting."""

from __future__ import annotations

import gc
import json
import random
import weakref
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from streamlic.decoder import open_decoder
from streamlic.decoder.reference import speculative_rows
from streamlic.decoder.reference.brackets import brackets_of, is_one_unit, nests_within, split_marks
from streamlic.decoder.reference.exact_numbers import has_many_digits
from streamlic.decoder.reference.record_buffer import Records
from streamlic.decoder.reference.speculative_rows import SpeculativeSplitter
from streamlic.decoder.scanner import mend_surrogates
from streamlic.emulator.records import license_json
from streamlic.schema.columns import JSON_RESCUED, json_field
from tests.support.oracle import outcome

USUAL = [license_json(7, "account", i).decode() for i in range(60)]
ODD = [
    "{}",
    '{"id":"},{"}',
    '{"id":"a\\"},{\\"b"}',
    '{"id":"\\\\"}',
    '{"products":[{"id":"p"},{"id":"q"}]}',
    '{"products":[{"id":"p"} , {"id":"q"}]}',
    '{"remote_data":[[{"a":1},{"b":[{},{}]}]]}',
    '{"remote_data":{"remote_data":1},"id":"remote_data"}',
    '{"remote\\u005fdata":{"a":[1]}}',
    '{"remote_data":{"a":1},"id":"x","remote_data":"}"}',
    '{"remote_data":"[{","id":{"id":1}}',
    '{"id":"\\ud800","name":"\\ud83d\\ude00"}',
    '[{"a":1},{"b":2}]',
    '"},{"',
    "12",
    "null",
    '{"id":1}\x0c',
    '{"id":1,}',
    '{"id":}',
    '{"id":"\x00"}',
    '{"a":[1},{"b":2]}',
    '{"x":' + "[" * 130 + "]" * 130 + "}",
    '{"available_quantity":' + "9" * 5000 + "}",
]

NUMBERS = [
    *("-0", "-0.0", "0e5", "12.0", "1e2", "1E+2", "12.5", "0.1e1", "12.00000000000000000001"),
    *("9007199254740993", "9007199254740993.0", "9223372036854775807", "9223372036854775807.0"),
    *("-9223372036854775807", "-9223372036854775808", "9223372036854775808", "1" * 40, "1" * 299),
    *("1e400", "-1e400", "1e-400", "1.7976931348623157e308", "1.7976931348623159e308"),
    *("1e99999999999999999999", "1e-99999999999999999999", "0e99999999999999999999", "01", "1.e2"),
]


LARGEST_BLOCK = 1 << 17


def exactly(body: bytes, **options: Any) -> Any:
    """Return the outcome of small chunks, whose rows are split one by one."""
    return outcome(body, list(range(0, len(body), 500)), **options)


def test_this_ijson_allows_speculation() -> None:
    """Otherwise every row is split exactly, which is correct but slow."""
    assert SpeculativeSplitter(list).split(b'{"a":1},{"a":2},{', 9).rows == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_an_odd_row_among_usual_ones_changes_nothing(odd: str) -> None:
    rng = random.Random(odd)
    rows = list(USUAL)
    rows[30] += rng.choice([",", " ,", ", "]) + odd
    body = ('{"result":[' + ",".join(rows) + '],"next_cursor":"x"}').encode()
    want = exactly(body)
    assert outcome(body) == want
    for _ in range(3):
        cuts = sorted(rng.randrange(len(body)) for _ in range(4))
        assert outcome(body, cuts) == want
    bounds: list[dict[str, Any]] = [
        {"batch_rows": 7},
        {"batch_bytes": 999},
        {"max_record_bytes": 900},
        {"max_depth": 7},
    ]
    for bound in bounds:
        assert outcome(body, **bound) == exactly(body, **bound)


def alike(start: str, count: int) -> list[str]:
    rest = '"name":"n","products":[{"id":"p","name":"x"},{"id":"q"}]}'
    return [start + f'"id":"r-{number % 7}x",' + rest for number in range(count)]


def bracket_splits(monkeypatch: pytest.MonkeyPatch, body: str) -> tuple[int, Any]:
    """Return how many blocks are split by their brackets, and the outcome."""
    blocks: list[bytes] = []

    def noted(block: bytes) -> bytes:
        blocks.append(block)
        return brackets_of(block)

    with monkeypatch.context() as patch:
        patch.setattr(speculative_rows, "brackets_of", noted)
        result = outcome(body.encode())
    return len(blocks), result


STARTS = [
    "{}",
    "{  }",
    '{"name":"n","id":"r-1"}',
    '{"id":"R"}',
    '{ "id":"r-1"}',
    '{"id":"r-1"} , {"id":"r-2"}',
    '{"id":"r-1"}{"id":"r-2"}',
    '{"id":"r-1"} {"id":"r-2"}',
    '{"id":"r-1"},{"id":"r-2"',
    '{"id":"r-1","products":[{"name":"x"},{"id":"r-2"},{"id":"r-3"}]}',
    '{"id":"r-1","products":[{"name":"x"},{"id":"r-2"},{"id":"r-3"}}',
    '{"id":"r-1","x":{"a":{"b":1},{"id":"r-2"}}',
    '{"id":"r-1","name":"},{\\"id\\":\\"r-"}',
    '{"id":"r-1","name":"},{"}',
    '{"id":"r-1","name":"},{"id":"r-2"}',
    '{"id":"r-1","name":"' + "[{" * 300 + '"}',
    '{"id":"r-1","x":' + "[" * 125 + "]" * 125 + "}",
    '{"id":"r-1","x":' + "[" * 126 + "]" * 126 + "}",
    '{"id":"r-1","x":' + '{"x":' * 126 + "1" + "}" * 126 + "}",
    '{"id":"r-1","x":' + "[[],[],[]]," * 90 + "1}",
    '{"id":"r-1","available_quantity":' + "9" * 30 + "}",
    '{"id":"r-1","available_quantity":1e999}',
]


@pytest.mark.parametrize(
    ("odd", "times"),
    [
        *(pytest.param(one, 1, id=f"{at}") for at, one in enumerate(STARTS)),
        *(pytest.param(one, 9, id=f"{4 * at}-often") for at, one in enumerate(STARTS[::4])),
    ],
)
def test_a_row_that_begins_or_nests_unlike_those_before_it_changes_nothing(
    odd: str, times: int
) -> None:
    """In chunks, whose prefix is learnt before the odd row, and in one."""
    rows = alike("{", 300 + 30 * times)
    for time in range(times):
        rows[250 + 30 * time] = odd
    body = ('{"result":[' + ",".join(rows) + "]}").encode()
    want = exactly(body)
    assert outcome(body) == want
    chunks = list(range(0, len(body), 4_000))
    assert outcome(body, chunks) == want
    assert outcome(body, chunks, max_depth=6) == exactly(body, max_depth=6)


@pytest.mark.parametrize("start", ["{", '{"k":1,', '{"k":"},{",'])
def test_rows_with_a_common_prefix_are_split_by_it(
    start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the result is correct, but slower."""
    body = "[" + ",".join(alike(start, 4000)) + "]"
    assert len(body) > 2 * LARGEST_BLOCK
    blocks, result = bracket_splits(monkeypatch, body)
    assert blocks == 1
    assert result == exactly(body.encode())


def test_a_prefix_that_fails_is_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = ",".join(alike("{", 50)).encode()
    odd = ",".join([*alike("{", 25), '{"name":"n"}', *alike("{", 25)]).encode()
    read: list[bytes] = []
    parsed = speculative_rows.parsed

    def noted(texts: bytes, *, use_float: bool = False) -> Any:
        read.append(texts)
        return parsed(texts, use_float=use_float)

    monkeypatch.setattr(speculative_rows, "parsed", noted)
    splitter = SpeculativeSplitter(list)
    for _ in range(10):
        assert len(splitter.split(plain, 9).rows) == 49
        assert len(splitter.split(odd, 9).rows) == 50
    assert 20 < len(read) < 25


@pytest.mark.parametrize("number", NUMBERS, ids=range(len(NUMBERS)))
def test_a_number_becomes_what_its_digits_say_in_every_column(number: str) -> None:
    """Read as a float, it would not always."""
    every = ["id", "available_quantity", "unit_amount", "is_paid", "created_at", "remote_data", "x"]
    members = [f'"{name}":{number}' for name in every]
    odd = [*members, f'"products":[{{"id":{number}}}]', f'"remote_data":{{"a":[{number}]}}']
    for members_together in ([members], [[one] for one in odd]):
        rows = USUAL[:20]
        for at, some in enumerate(members_together):
            rows[2 * at] = "{" + ",".join(some) + "}"
        body = ("[" + ",".join(rows) + "]").encode()
        # By repr, because -0.0 is an equal of 0.0.
        assert repr(outcome(body)) == repr(exactly(body))
        assert repr(outcome(body, strict=True)) == repr(exactly(body, strict=True))


def test_integers_are_read_again_at_every_depth() -> None:
    x = pa.struct([("x", pa.int64())])
    lists = pa.list_(pa.struct([("m", pa.list_(x))]))
    fields = [("n", pa.int64()), ("s", x), ("m", pa.list_(x)), ("l", lists)]
    schema = pa.schema(
        [*map(pa.field, *zip(*fields, strict=True)), json_field("lost", JSON_RESCUED)]
    )
    rng = random.Random(7)
    numbers = ["1", "2.0", "9007199254740993.0", "3.00000000000000000001", "null", '"a"']

    def number() -> str:
        return rng.choice(numbers)

    def objects() -> str:
        return ",".join(f'{{"x":{number()}}}' for _ in range(rng.randrange(1, 4)))

    def record() -> str:
        lists = ",".join(f'{{"m":[{objects()}]}}' for _ in range(rng.randrange(1, 4)))
        one = rng.choice([number(), f'{{"x":{number()}}}'])
        return f'{{"n":{number()},"s":{one},"m":[{objects()}],"l":[{lists}]}}'

    body = ("[" + ",".join(record() for _ in range(300)) + "]").encode()
    assert outcome(body, schema=schema) == exactly(body, schema=schema)
    assert b"9007199254740993" in body
    assert 9007199254740993 in [row["n"] for row in outcome(body, schema=schema)[0]]


def test_numbers_are_floats_until_one_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """From then on the body is read exactly: reading each block twice would cost more."""
    splitter = SpeculativeSplitter(list)
    plain = b'{"a":1.5},{"a'
    assert splitter.split(plain, 126).rows == [{"a": 1.5}]
    assert type(splitter.split(plain, 126).rows[0]["a"]) is float
    # strtod would stop at the point.
    monkeypatch.setattr(speculative_rows, "localeconv", lambda: {"decimal_point": ","})
    assert type(splitter.split(plain, 126).rows[0]["a"]) is Decimal
    monkeypatch.undo()
    assert type(splitter.split(plain, 126).rows[0]["a"]) is float
    assert splitter.split(b'{"a":123456789012345678901},{"a":2},{', 126).rows == [
        {"a": 123456789012345678901},
        {"a": 2},
    ]
    assert type(splitter.split(plain, 126).rows[0]["a"]) is Decimal


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_only_whole_rows_are_split_each_with_its_own_text(odd: str) -> None:
    block = mend_surrogates(",".join([*USUAL[:20], odd, *USUAL[20:40], '{"id":']).encode())
    rows, texts = SpeculativeSplitter(list).split(block, 126)
    assert len(rows) == len(texts)
    assert len(rows) in (0, 19, 40, 41, 43)
    assert block.startswith(b"".join(text + b"," for text in texts))
    for row, text in zip(rows, texts, strict=True):
        assert row in (json.loads(text), json.loads(text, parse_float=Decimal))


def test_records_keep_their_places_however_they_are_put_together() -> None:
    rng = random.Random(7)
    for _ in range(300):
        records, want, position = Records(), list[tuple[bytes, int, int]](), 0
        for _ in range(rng.randrange(1, 6)):
            some, first = Records(), len(want)
            position += rng.randrange(9)
            texts = [b"x" * rng.randrange(1, 9) for _ in range(rng.randrange(1, 5))]
            some.append_run(texts, list(texts), position, first)
            for text in texts:
                want.append((text, position, len(want)))
                position += len(text) + 1
            records.ends()
            records.extend(some)
        start = rng.randrange(len(want))
        stop = rng.randrange(start, len(want) + 1)
        for got, wanted in ((records, want), (records.between(start, stop), want[start:stop])):
            numbers = range(len(got))
            assert [(got.texts[n], *got.place(n)) for n in numbers] == wanted
            assert got.rows == [text for text, _, _ in wanted]
            assert got.size == sum(len(text) for text, _, _ in wanted)


def test_a_large_chunk_is_split_a_block_at_a_time() -> None:
    body = ("[" + ",".join(USUAL * 10) + "]").encode()
    assert len(body) > 2 * LARGEST_BLOCK
    assert outcome(body) == exactly(body)


def test_brackets_inside_strings_are_left_out() -> None:
    assert brackets_of(rb'{"a[":"\"}\\","":[{}," {"]}') == b"{[{}]}"
    assert brackets_of(b'["a","]"]\0{"b":"}"}') == b"[]\0{}"
    assert [is_one_unit(brackets) for brackets in (b"{[]}", b"{}{}", b"", b"[")] == [True] + [
        False
    ] * 3


def test_a_split_between_rows_is_distinguished_from_one_within_brackets() -> None:
    assert brackets_of(b'{"a":"}\0{"}\0["\0\0"]') == b"{[\0]}\0[[\0][\0]]"
    assert split_marks(b"\0[{}\0{[\0\0]}]\0{}\0{[\0]}") == (b"\0\1\1\1\0\0\1", True)
    assert split_marks(b"\0{[{[\0]}\0") == (b"\0", False)
    assert split_marks(b"\0]\0") == (b"\0", False)
    assert split_marks(b"[" * 30 + b"\0" + b"]" * 30) == (b"", False)
    assert split_marks(b"") == (b"", True)


def test_nesting_is_never_underestimated() -> None:
    for depth in range(1, 40):
        for brackets in (b"[" * depth, b"[" * depth + b"]" * depth, b"{}" + b"{[]" * depth):
            assert not nests_within(brackets, depth - 1)
    assert nests_within(b"{[{}{}]{[]}}" * 1000, 9)


def test_three_hundred_digits_are_found_at_every_offset() -> None:
    for before in range(40):
        assert has_many_digits(b"x" * before + b"1" * 300)
        assert not has_many_digits(b"x" * before + b"1" * 299 + b"." + b"1" * 299)


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_a_decoder_is_freed_without_the_collector(engine: str) -> None:
    decoder = open_decoder(engine=engine)
    decoder.feed(("[" + ",".join(USUAL * 3)).encode())
    freed = weakref.ref(decoder)
    gc.disable()
    try:
        del decoder
        assert freed() is None
    finally:
        gc.enable()
