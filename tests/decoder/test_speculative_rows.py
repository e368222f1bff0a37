"""Rows cut by a guess that ijson proves: the same rows, verdicts and texts as when cut exactly."""

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
from streamlic.decoder.reference import row_splitter as cutting
from streamlic.decoder.reference import speculative_rows as ordinary
from streamlic.decoder.reference.brackets import cuts, is_one_unit, nests_within, skeleton
from streamlic.decoder.reference.record_buffer import Records
from streamlic.decoder.reference.speculative_rows import RowCutter, has_many_digits
from streamlic.decoder.scanner import mend_surrogates
from streamlic.emulator.records import license_json
from streamlic.schema.columns import JSON_RESCUED, json_field
from tests.support.oracle import outcome

ORDINARY = [license_json(7, "account", i).decode() for i in range(300)]
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


def exactly(body: bytes, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Any:
    """Return the outcome when every row is cut exactly."""
    with monkeypatch.context() as patch:
        patch.setattr(cutting, "_MIN_BLOCK_BYTES", 1 << 40)
        return outcome(body, **options)


def test_this_ijson_takes_the_mark_for_white_space_but_not_within_a_string() -> None:
    """If not, everything is cut exactly: right, and slow."""
    assert ordinary._IS_PROVEN


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_an_odd_row_among_ordinary_ones_changes_nothing(
    odd: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(odd)
    for separator in (",", " ,", ", "):
        rows = list(ORDINARY)
        rows[150] += separator + odd
        body = ('{"result":[' + ",".join(rows) + '],"next_cursor":"x"}').encode()
        want = exactly(body, monkeypatch)
        assert outcome(body) == want
        for _ in range(3):
            cuts = sorted(rng.randrange(len(body)) for _ in range(4))
            assert outcome(body, cuts) == want
        assert outcome(body, batch_rows=7) == exactly(body, monkeypatch, batch_rows=7)
        bounds: list[dict[str, Any]] = [
            {"batch_bytes": 999},
            {"max_record_bytes": 900},
            {"max_depth": 7},
        ]
        for bound in bounds:
            assert outcome(body, **bound) == exactly(body, monkeypatch, **bound)


def alike(start: str, count: int = 4000) -> list[str]:
    rest = '"name":"n","products":[{"id":"p","name":"x"},{"id":"q"}]}'
    return [start + f'"id":"r-{number % 7}x",' + rest for number in range(count)]


def bracket_cuts(monkeypatch: pytest.MonkeyPatch, body: str) -> tuple[int, Any]:
    """Return how many blocks are cut by their brackets, and what comes out."""
    blocks: list[bytes] = []
    cut = RowCutter._cut_by_brackets

    def noted(self: RowCutter, block: bytes, levels: int) -> Any:
        blocks.append(block)
        return cut(self, block, levels)

    with monkeypatch.context() as patch:
        patch.setattr(RowCutter, "_cut_by_brackets", noted)
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


@pytest.mark.parametrize("odd", STARTS, ids=range(len(STARTS)))
@pytest.mark.parametrize("times", [1, 9])
def test_a_row_that_begins_or_nests_unlike_those_before_it_changes_nothing(
    odd: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = alike("{")
    for time in range(times):
        rows[2500 + 150 * time] = odd
    body = ('{"result":[' + ",".join(rows) + "]}").encode()
    want = exactly(body, monkeypatch)
    assert outcome(body) == want
    assert outcome(body, list(range(0, len(body), 9_000))) == want
    assert outcome(body, max_depth=6) == exactly(body, monkeypatch, max_depth=6)


@pytest.mark.parametrize("start", ["{", '{"k":1,', '{"k":"},{",'])
def test_rows_that_begin_alike_are_cut_by_that(start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If not, all is right, but slower."""
    body = "[" + ",".join(alike(start)) + "]"
    assert len(body) > 2 * cutting._BLOCK_BYTES
    blocks, result = bracket_cuts(monkeypatch, body)
    assert blocks == 1
    assert result == exactly(body.encode(), monkeypatch)


def test_how_rows_begin_is_not_learnt_for_ever_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = ",".join(alike("{", 50)).encode()
    odd = ",".join([*alike("{", 25), '{"name":"n"}', *alike("{", 25)]).encode()
    read: list[bytes] = []
    parsed = ordinary.parsed

    def noted(texts: bytes, *, use_float: bool = False) -> Any:
        read.append(texts)
        return parsed(texts, use_float=use_float)

    monkeypatch.setattr(ordinary, "parsed", noted)
    cutter = RowCutter(list)
    for _ in range(10):
        assert len(cutter.cut(plain, 9).rows) == 49
        assert len(cutter.cut(odd, 9).rows) == 50
    assert len(read) == 20 + ordinary._WRONG_STARTS


@pytest.mark.parametrize("number", NUMBERS, ids=range(len(NUMBERS)))
def test_a_number_becomes_what_its_digits_say_in_every_column(
    number: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read as a float, it would not always."""
    every = ["id", "available_quantity", "unit_amount", "is_paid", "created_at", "remote_data", "x"]
    members = [f'"{name}":{number}' for name in every]
    odd = [*members, f'"products":[{{"id":{number}}}]', f'"remote_data":{{"a":[{number}]}}']
    for members_together in ([members], [[one] for one in odd]):
        rows = list(ORDINARY)
        for at, some in enumerate(members_together):
            rows[30 * at] = "{" + ",".join(some) + "}"
        body = ("[" + ",".join(rows) + "]").encode()
        # By repr, because -0.0 is an equal of 0.0.
        assert repr(outcome(body)) == repr(exactly(body, monkeypatch))
        assert repr(outcome(body, strict=True)) == repr(exactly(body, monkeypatch, strict=True))


def test_integers_are_read_again_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert outcome(body, schema=schema) == exactly(body, monkeypatch, schema=schema)
    assert b"9007199254740993" in body
    assert 9007199254740993 in [row["n"] for row in outcome(body, schema=schema)[0]]


def test_numbers_are_floats_until_one_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the body is read exactly: it would cost to read each of its blocks twice."""
    cutter = RowCutter(list)
    plain = b'{"a":1.5},{"a'
    assert cutter.cut(plain, 126).rows == [{"a": 1.5}]
    assert type(cutter.cut(plain, 126).rows[0]["a"]) is float
    monkeypatch.setattr(ordinary, "_point", lambda: ",")  # strtod would stop at the point.
    assert type(cutter.cut(plain, 126).rows[0]["a"]) is Decimal
    monkeypatch.undo()
    assert type(cutter.cut(plain, 126).rows[0]["a"]) is float
    assert cutter.cut(b'{"a":123456789012345678901},{"a":2},{', 126).rows == [
        {"a": 123456789012345678901},
        {"a": 2},
    ]
    assert type(cutter.cut(plain, 126).rows[0]["a"]) is Decimal


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_what_is_taken_is_whole_rows_with_their_own_text(odd: str) -> None:
    block = mend_surrogates(",".join([*ORDINARY[:20], odd, *ORDINARY[20:40], '{"id":']).encode())
    rows, texts = RowCutter(list).cut(block, 126)
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


def test_a_large_chunk_is_taken_a_block_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    body = ("[" + ",".join(ORDINARY * 10) + "]").encode()
    assert len(body) > 3 * cutting._BLOCK_BYTES
    assert outcome(body) == exactly(body, monkeypatch)


def test_a_skeleton_is_the_brackets_outside_of_strings() -> None:
    assert skeleton(rb'{"a[":"\"}\\","":[{}," {"]}') == b"{[{}]}"
    assert skeleton(b'["a","]"]\0{"b":"}"}') == b"[]\0{}"
    assert [is_one_unit(bare) for bare in (b"{[]}", b"{}{}", b"", b"[")] == [True] + [False] * 3


def test_what_cuts_a_skeleton_is_told_from_what_lies_within_brackets() -> None:
    assert skeleton(b'{"a":"}\0{"}\0["\0\0"]') == b"{[\0]}\0[[\0][\0]]"
    assert cuts(b"\0[{}\0{[\0\0]}]\0{}\0{[\0]}") == (b"\0\1\1\1\0\0\1", True)
    assert cuts(b"\0{[{[\0]}\0") == (b"\0", False)
    assert cuts(b"\0]\0") == (b"\0", False)
    assert cuts(b"[" * 30 + b"\0" + b"]" * 30) == (b"", False)
    assert cuts(b"") == (b"", True)


def test_nesting_is_never_taken_for_less_than_it_is() -> None:
    for depth in range(1, 40):
        for bare in (b"[" * depth, b"[" * depth + b"]" * depth, b"{}" + b"{[]" * depth):
            assert not nests_within(bare, depth - 1)
    assert nests_within(b"{[{}{}]{[]}}" * 1000, 9)


def test_three_hundred_digits_are_found_wherever_they_stand() -> None:
    for before in range(40):
        assert has_many_digits(b"x" * before + b"1" * 300)
        assert not has_many_digits(b"x" * before + b"1" * 299 + b"." + b"1" * 299)


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_a_decoder_is_freed_without_the_collector(engine: str) -> None:
    decoder = open_decoder(engine=engine)
    decoder.feed(("[" + ",".join(ORDINARY * 3)).encode())
    freed = weakref.ref(decoder)
    gc.disable()
    try:
        del decoder
        assert freed() is None
    finally:
        gc.enable()
