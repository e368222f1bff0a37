"""Rows cut by a guess that ijson proves: the same rows, verdicts and texts as when cut exactly."""

from __future__ import annotations

import gc
import json
import random
import weakref
from decimal import Decimal
from typing import Any

import pytest

from streamlic.decoder import framing, open_decoder, ordinary
from streamlic.decoder.ordinary import has_many_digits, ordinary_rows
from streamlic.decoder.skeleton import cuts, is_one_unit, nests_within, skeleton
from streamlic.decoder.strict import mend_surrogates
from streamlic.emulator.records import license_json
from tests.judge import outcome

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


def exactly(body: bytes, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Any:
    """Return the outcome when every row is cut exactly."""
    with monkeypatch.context() as patch:
        patch.setattr(framing, "_MIN_BLOCK_BYTES", 1 << 40)
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


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_what_is_taken_is_whole_rows_with_their_own_text(odd: str) -> None:
    block = mend_surrogates(",".join([*ORDINARY[:20], odd, *ORDINARY[20:40], '{"id":']).encode())
    rows, texts = ordinary_rows(block, 126, list)
    assert len(rows) == len(texts)
    assert len(rows) in (0, 19, 40, 41, 43)
    assert block.startswith(b"".join(text + b"," for text in texts))
    for row, text in zip(rows, texts, strict=True):
        assert row == json.loads(text, parse_float=Decimal)


def test_a_large_chunk_is_taken_a_block_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    body = ("[" + ",".join(ORDINARY * 10) + "]").encode()
    assert len(body) > 3 * framing._BLOCK_BYTES
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
