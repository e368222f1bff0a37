"""The decoder's contract: every body shape, every cut, every verdict with its place."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from streamlic.decoder import NO_FAST, engine_named, open_decoder, why_not_fast
from streamlic.errors import (
    DecodeError,
    LimitExceeded,
    NotAListing,
    ReportedFailure,
    RescueError,
    TruncatedBody,
    UsageError,
)
from streamlic.schema.columns import JSON_RESCUED, JSON_VALUE, RAW_SCHEMA, json_field
from tests.support.oracle import check_rows, decode, outcome, parsed

RECORDS: list[Any] = [
    {"id": "a", "name": "Élan \U0001f600", "available_quantity": 12, "unit_amount": 1.5},
    {"id": 7, "is_paid": True, "products": [{"id": "p", "name": "x", "status": "active"}, None]},
    {"id": "b", "available_quantity": "12", "sku": {"deep": [1, 2]}, "a/b~c": None},
    {"id": "c", "products": [{"sku": 1}, 5], "roles": {}, "remote_data": {"k": [1, {"z": "}"}]}},
    {"id": "d", "created_at": "2024-01-02T03:04:05Z", "updated_at": "2024-01-02 03:04:05"},
    {"id": "e", "created_at": "never", "remote_data": None, "description": 'quote " and \\ slash'},
    "no object",
    None,
    17,
    {},
    {"id": "f", "name": "remote_data", "remote_data": "remote_data", "roles": []},
]
ENVELOPE: dict[str, Any] = {
    "next_cursor": "abc",
    "result_count": len(RECORDS),
    "is_partial_response": False,
}


def body_of(records: list[Any] = RECORDS, **envelope: Any) -> bytes:
    return json.dumps({"result": records, **envelope}, ensure_ascii=False).encode()


def test_an_envelope_becomes_rows_and_facts() -> None:
    table, envelope = decode(body_of(**ENVELOPE))
    check_rows(table.to_pylist(), parsed(json.dumps(RECORDS)))
    assert (envelope.next_cursor, envelope.result_count) == ("abc", len(RECORDS))
    assert envelope.rows == len(RECORDS)
    assert envelope.rescued == 10


def test_what_did_not_fit_is_kept_in_document_order_with_its_own_text() -> None:
    text = b'{"result":[{"b":1.50,"id":[],"a":"\\u00e9","unit_amount":1e999,"b": 2e0 }]}'
    table, _ = decode(text)
    assert table["_rescued"].to_pylist() == [
        '{"/id":[],"/a":"\\u00e9","/unit_amount":1e999,"/b":2e0}'
    ]


def test_a_field_named_like_the_column_of_rescues_is_rescued() -> None:
    table, _ = decode(b'[{"_rescued":1,"id":"a"}]')
    assert table["_rescued"].to_pylist() == ['{"/_rescued":1}']
    lost = pa.schema([json_field("lost", JSON_RESCUED)])
    table, _ = decode(b'[{"lost":1},{},5]', schema=lost)
    assert table["lost"].to_pylist() == ['{"/lost":1}', None, '{"":5}']


def test_an_empty_text_is_a_null_timestamp_and_not_a_misfit() -> None:
    """However it is written: alone, with other rows, for a key that repeats, and under strict."""
    rows = [b'{"created_at":"","updated_at":"2024-01-01"}', b'{"created_at":""}', b"{}"]
    repeated = (
        b'{"id":"a","created_at":"2024-01-01","x":"\\n","created_at":"","created\\u005fat":""}'
    )
    for body in (b"[" + b",".join(rows) + b"]", b"[" + rows[1] + b"]"):
        for cut in range(len(body)):
            table, envelope = decode(body, [cut], strict=True)
            assert table["created_at"].null_count == len(table)
            assert envelope.rescued == 0
    table, _ = decode(b"[" + b",".join([repeated, *rows, b'{"created_at":" "}]']))
    assert table["_rescued"].to_pylist() == [
        '{"/x":"\\n"}',
        None,
        None,
        None,
        '{"/created_at":" "}',
    ]
    assert table["created_at"].null_count == len(table)


def test_remote_data_keeps_its_text() -> None:
    value = b'{ "n" : 1.10, "big":123456789012345678901234567890,"e":1E+2,"s":"\\u00e9\\/" }'
    table, _ = decode(b'{"result":[{"remote_data":' + value + b"}]}")
    assert table["remote_data"].to_pylist() == [value.decode()]


SHAPES: dict[str, tuple[bytes, dict[str, Any]]] = {
    "envelope": (body_of(**ENVELOPE), {}),
    "facts first": (json.dumps({**ENVELOPE, "result": RECORDS}).encode(), {}),
    "bare array": (json.dumps(RECORDS).encode(), {}),
    "pretty": (json.dumps({"result": RECORDS}, indent=2).encode(), {}),
    "lines": ("\n".join(json.dumps(one) for one in RECORDS).encode(), {"ndjson": True}),
    "lines ended": (
        "".join(json.dumps(one) + "\r\n" for one in RECORDS).encode(),
        {"ndjson": True},
    ),
    "rows_at": (
        json.dumps({"a": 1, "data": {"x": {}, "items": RECORDS, "y": []}, "b": [[]]}).encode(),
        {"rows_at": "data.items"},
    ),
    "white space": (
        b' \n\t{ "result" : [ {} , {"id" : "x" } ] , "next_cursor" : null }\r\n ',
        {},
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gives_the_same_at_every_cut(shape: str) -> None:
    body, options = SHAPES[shape]
    whole = outcome(body, **options)
    assert isinstance(whole[0], list)
    if shape != "white space":
        check_rows(whole[0], parsed(json.dumps(RECORDS)))
    # The records are the same in all shapes: one is cut anywhere within them.
    for cut in range(0, len(body) + 1, 1 if shape == "envelope" else 9):
        assert outcome(body, [cut], **options) == whole
    assert outcome(body, list(range(1, len(body))), **options) == whole


def test_batches_are_bounded_by_rows_and_by_bytes() -> None:
    records = [{"id": str(i)} for i in range(100)]
    body = body_of(records)
    assert outcome(body, batch_rows=30)[1] == [30, 30, 30, 10]
    assert outcome(body, list(range(1, len(body), 7)), batch_rows=30)[1] == [30, 30, 30, 10]
    by_bytes = outcome(body, batch_bytes=110)[1]
    assert sum(by_bytes) == 100
    assert by_bytes[0] == 10
    assert outcome(body, [5, 6, 500], batch_bytes=110)[1] == by_bytes


def test_an_empty_result_has_no_rows() -> None:
    assert outcome(b'{"result":[]}')[0] == []
    assert outcome(b"[]")[0] == []
    assert outcome(b"", ndjson=True)[0] == []


R = b'{"result":['
VERDICTS: list[tuple[bytes, type[DecodeError], int, str]] = [
    (b"", TruncatedBody, 0, ""),
    (b"   ", TruncatedBody, 3, ""),
    (b"\xef\xbb\xbf{}", DecodeError, 0, ""),
    (b"\xef\xbb", NotAListing, 0, ""),
    (b"null", NotAListing, 0, ""),
    (b"tru", NotAListing, 0, ""),
    (b"<html>", NotAListing, 0, ""),
    (b"{}", NotAListing, 1, ""),
    (b'{"value":[{}]}', NotAListing, 13, ""),
    (b'{"value":[{}]', TruncatedBody, 13, ""),
    (b'{"error":"x","message":"y"}', ReportedFailure, 26, ""),
    (b'{"result":{}}', DecodeError, 10, "result"),
    (b'{"result":null,"result":[]}', DecodeError, 24, "result"),
    (b'{"result":[],"result":null}', DecodeError, 22, "result"),
    (b'{"result":nul]}', DecodeError, 13, "result"),
    (b'{"result":5}', DecodeError, 10, "result"),
    (b'{"result":[]', TruncatedBody, 12, ""),
    (b'{"result":[],}', DecodeError, 13, ""),
    (b'{"result":[]}x', DecodeError, 13, ""),
    (b'{"result":[]}{}', DecodeError, 13, ""),
    (b'{"result":[],"result":[]}', DecodeError, 22, "result"),
    (b'{"result":[],"next_cursor":{}}', DecodeError, 27, "next_cursor"),
    (b'{"result":[],"result_count":1.5}', DecodeError, 28, "result_count"),
    (b'{"result":[],"is_partial_response":1}', DecodeError, 35, "is_partial_response"),
    (b'{"result" []}', DecodeError, 10, "result"),
    (b"{result:[]}", DecodeError, 1, ""),
    (b'{"x":nul}', DecodeError, 8, "x"),
    (b'{"x":{"y":[1,}]}}', DecodeError, 13, "x.y[1]"),
    (R + b"{}", TruncatedBody, 13, "result"),
    (R + b"{},", TruncatedBody, 14, "result"),
    (R + b"{}}", DecodeError, 13, "result"),
    (R + b"{},]}", DecodeError, 14, "result[1]"),
    (R + b",{}]}", DecodeError, 11, "result[0]"),
    (R + b"{} {}]}", DecodeError, 14, "result"),
    (R + b'{"id":"a"', TruncatedBody, 20, "result[0]"),
    (R + b'{"id":"a', TruncatedBody, 19, "result[0].id"),
    (R + b'{"id":}]}', DecodeError, 17, "result[0].id"),
    (R + b'{"id" "a"}]}', DecodeError, 17, "result[0].id"),
    (R + b'{"id":"a",}]}', DecodeError, 21, "result[0]"),
    (R + b'{"id":"a" "b":1}]}', DecodeError, 21, "result[0]"),
    (R + b'{"id":01}]}', DecodeError, 18, "result[0]"),
    (R + b'{"id":1.}]}', DecodeError, 19, "result[0].id"),
    (R + b'{"id":-}]}', DecodeError, 18, "result[0].id"),
    (R + b'{"id":1e+}]}', DecodeError, 20, "result[0].id"),
    (R + b'{"id":+1}]}', DecodeError, 17, "result[0].id"),
    (R + b'{"id":.5}]}', DecodeError, 17, "result[0].id"),
    (R + b'{"id":NaN}]}', DecodeError, 17, "result[0].id"),
    (R + b'{"id":Infinity}]}', DecodeError, 17, "result[0].id"),
    (R + b'{"id":tRue}]}', DecodeError, 18, "result[0].id"),
    (R + b'{"id":"\x01"}]}', DecodeError, 18, "result[0].id"),
    (R + b'{"id":"a\nb"}]}', DecodeError, 19, "result[0].id"),
    (R + b'{"id":"\\x"}]}', DecodeError, 19, "result[0].id"),
    (R + b'{"id":"\\u12G4"}]}', DecodeError, 22, "result[0].id"),
    (R + b'{"id":\x0c1}]}', DecodeError, 17, "result[0].id"),
    (R + b'{"id":1}/**/]}', DecodeError, 19, "result"),
    (R + b"{\"id\":'a'}]}", DecodeError, 17, "result[0].id"),
    (R + b'{"id":"\xff"}]}', DecodeError, 18, "result[0].id"),
    (R + b'{"id":"\xed\xa0\x80"}]}', DecodeError, 18, "result[0].id"),
    (R + b'{"id":"\xed\xa0', DecodeError, 18, "result[0].id"),
    (R + b'{"id":"\xed\xbf', DecodeError, 18, "result[0].id"),
    (R + b'{"id":"\xed\x9f', TruncatedBody, 20, "result[0].id"),
    (R + b'{"id":"\xc0\x80"}]}', DecodeError, 18, "result[0].id"),
    (R + b'{"id":"ok"},{"id":"\xe2\x28\xa1"}]}', DecodeError, 30, "result[1].id"),
    (R + b'{"id":"\xe2\x82', TruncatedBody, 20, "result[0].id"),
    (R + b'{"id":1,"products":[{"id":2},{"id":x}]}]}', DecodeError, 46, "result[0].products[1].id"),
    (R + b'{"remote_data":{"a":tru}}]}', DecodeError, 34, "result[0].remote_data.a"),
    (R + b'{"remote_data":{"a":[1}}}]}', DecodeError, 33, "result[0].remote_data.a"),
    (R + b'{"remote_data":1 2}]}', DecodeError, 28, "result[0]"),
    (R + b'{"id":1},{"id":bad},{"id"x}]}', DecodeError, 26, "result[1].id"),
    (R + b'{"id":bad},{"\\u0069d":x}]}', DecodeError, 17, "result[0].id"),
    (R + b'{"id":bad},' + b'{"id":"\xff"}]}', DecodeError, 17, "result[0].id"),
    (R + b'{"a":[1},{"b":2]}]}', DecodeError, 18, "result[0].a"),
    (R + b'{"a b":{"":bad}}]}', DecodeError, 22, 'result[0]["a b"][""]'),
    (b"[{},{]", DecodeError, 5, "[1]"),
]


@pytest.mark.parametrize(("body", "kind", "position", "path"), VERDICTS)
def test_a_bad_body_is_refused_with_its_place_at_every_cut(
    body: bytes, kind: type[DecodeError], position: int, path: str
) -> None:
    whole = outcome(body)
    assert whole[:3] == (kind.__name__, position, path)
    for cut in range(len(body) + 1):
        assert outcome(body, [cut]) == whole
    assert outcome(body, list(range(1, len(body)))) == whole


@pytest.mark.parametrize(
    ("body", "position", "path"),
    [
        (b'{"result":{"k":{"id":x}}}', 21, "result.k.id"),
        (b'{"result":{"k":{},}}', 18, "result"),
        (b'{"result":{"k" {}}}', 15, "result.k"),
        (b'{"result":{5:{}}}', 11, "result"),
    ],
)
def test_a_bad_keyed_body_is_refused_with_its_place(body: bytes, position: int, path: str) -> None:
    whole = outcome(body, key_by="id")
    assert whole[:3] == ("DecodeError", position, path)
    for cut in range(len(body) + 1):
        assert outcome(body, [cut], key_by="id") == whole


@pytest.mark.parametrize(
    ("body", "kind", "position"),
    [
        (b"{} {}", DecodeError, 3),
        (b'{"id":1}\n{"id":', TruncatedBody, 15),
        (b'{"id":1}\n{"id":x}\n', DecodeError, 15),
        (b"{}\n]\n", DecodeError, 3),
        (b"{},\n{}", DecodeError, 2),
        (b"tru", TruncatedBody, 3),
        (b"1.", TruncatedBody, 2),
        (b"\xef\xbb\xbf{}", DecodeError, 0),
    ],
)
def test_bad_lines_are_refused_with_their_place(
    body: bytes, kind: type[DecodeError], position: int
) -> None:
    whole = outcome(body, ndjson=True)
    assert whole[:2] == (kind.__name__, position)
    for cut in range(len(body) + 1):
        assert outcome(body, [cut], ndjson=True) == whole


def test_an_envelope_without_rows_lists_its_keys() -> None:
    with pytest.raises(DecodeError, match=r"keys: @odata.context, value,"):
        decode(b'{"@odata.context":"x","value":[]}')


@pytest.mark.parametrize(
    ("body", "keys"), [(b'{"":null}', "none"), (b'{"":1,"a":2}', ", a"), (b"{}", "none")]
)
def test_every_engine_lists_keys_without_letters_alike(body: bytes, keys: str) -> None:
    with pytest.raises(DecodeError, match=f"keys: {keys},"):
        decode(body)


def test_a_vendors_next_link_is_noticed() -> None:
    body = b'{"value":[],"@odata.nextLink":"https://x","next_cursor":{"any":"thing"}}'
    _, envelope = decode(body, rows_at="value")
    assert envelope.next_link == "@odata.nextLink"
    assert envelope.next_cursor is None


def test_raw_records_are_kept_whole() -> None:
    body = b'{"value":[ {"a": 1.0} ,"x",null,[1]]}'
    table, envelope = decode(body, schema=RAW_SCHEMA, rows_at="value")
    assert table["record"].to_pylist() == ['{"a": 1.0}', '"x"', None, "[1]"]
    assert envelope.rows == 4
    bad = b'{"value":[{"a":1},{"a":tru}]}'
    verdict = outcome(bad, schema=RAW_SCHEMA, rows_at="value")
    assert verdict[1:3] == (26, "value[1].a")


def test_unpaired_surrogates_become_replacement_characters_in_every_value() -> None:
    body = (
        rb'[{"id":"\ud800","name":"\ude00\ud83d","description":"\ud83d\ude00 \ud83d\u0041",'
        rb'"\ud800":1,"remote_data":{"\udc00":"\ud83d\ud83d\ude00 \\ud800"}}]'
    )
    for cut in range(len(body)):
        table, _ = decode(body, [cut])
        row = table.to_pylist()[0]
        assert row["id"] == "\ufffd"
        assert row["name"] == "\ufffd\ufffd"
        assert row["description"] == "\U0001f600 \ufffdA"
        assert json.loads(row["_rescued"]) == {"/\\d800": 1}
        assert json.loads(row["remote_data"]) == {"\\dc00": "\ufffd\U0001f600 \\ud800"}


def test_a_key_with_the_very_text_of_an_unpaired_surrogate_repeats_it() -> None:
    """The documented rule of repeated keys: the last one counts, and in JSON text both are kept."""
    for surrogate, text, last in (("1", "2", 2), ("[]", '"x"', "x")):
        first = rb'"\ud800":%b,"\\d800":%b' % (surrogate.encode(), text.encode())
        body = rb'[{"id":"a",%b,"remote_data":{%b}}]' % (first, first)
        for cut in range(len(body)):
            row = decode(body, [cut])[0].to_pylist()[0]
            assert json.loads(row["_rescued"]) == {"/\\d800": last}
            pairs = json.loads(row["remote_data"], object_pairs_hook=list)
            assert [key for key, _ in pairs] == ["\\d800", "\\d800"]
    keyed = rb'{"result":{"\ud800":{"name":"n"},"\\d800":{"name":"m"}}}'
    rows = decode(keyed, key_by="id")[0].to_pylist()
    assert [(row["id"], row["name"]) for row in rows] == [("\\d800", "n"), ("\\d800", "m")]


KEYED = (
    rb'{"\ud800":1,"\udbff x":2,"\uD800":3,"\uDC00\ud83d\ude00":"\udc00","\ufffd":4,'
    rb'"\\\ud800":5,"a":["\ud800"]}'
)
KEPT = (
    rb'{"\\d800":1,"\\dbff x":2,"\\d800":3,"\\dc00\ud83d\ude00":"\ufffd","\ufffd":4,'
    rb'"\\\\d800":5,"a":["\ufffd"]}'
)


@pytest.mark.parametrize("records", [1, 2, 200])
def test_keys_that_differ_in_unpaired_surrogates_stay_different(records: int) -> None:
    """In rescues, in JSON columns and in raw records, alone and in a block of rows."""
    record = b'{"id":"i","remote_data":%b,"z":%b,%b' % (KEYED, KEYED, KEYED[1:])
    body = b"[" + b",".join([record] * records) + b"]"
    want = {**{f"/{key}": value for key, value in json.loads(KEPT).items()}, "/z": json.loads(KEPT)}
    for cuts in ([], [50], list(range(1, len(body)))):
        table, envelope = decode(body, cuts)
        check_rows(table.to_pylist(), parsed(body))
        assert envelope.rescued == 8 * records - records
        for row in table.slice(0, 2).to_pylist():
            assert row["remote_data"].encode() == KEPT
            assert json.loads(row["_rescued"]) == want
        table, _ = decode(body, cuts, schema=RAW_SCHEMA)
        whole = b'{"id":"i","remote_data":%b,"z":%b,%b' % (KEPT, KEPT, KEPT[1:])
        assert set(table["record"].to_pylist()) == {whole.decode()}


@pytest.mark.parametrize(
    ("record", "path"),
    [
        (rb'{"a\ud800" 1}', r'result[0]["a\\d800"]'),
        (rb'{"\udc00":{"\ud800":x}}', r'result[0]["\\dc00"]["\\d800"]'),
        (rb'{"a":"\ud800","b\udc00":[1}', r'result[0]["b\\dc00"]'),
    ],
)
def test_the_path_of_an_error_has_such_keys_too(record: bytes, path: str) -> None:
    for body in (R + record + b"]}", R + b'{"id":"a"},' * 3 + record + b',{"id":"a"}]}'):
        whole = outcome(body)
        assert whole[2].replace("[3]", "[0]") == path
        for cut in range(len(body)):
            assert outcome(body, [cut]) == whole


def test_of_a_repeated_key_the_last_counts() -> None:
    body = (
        b'[{"id":[],"id":"last","available_quantity":1,"available_quantity":"x","z":1,"z":2,'
        b'"remote_data":{"a":1},"remote_data":{"b":2}},'
        b'{"remote_data":1,"remote\\u005fdata":null},{"remote\\u005fdata":1,"remote_data":2}]'
    )
    table, envelope = decode(body)
    rows = table.to_pylist()
    assert rows[0]["id"] == "last"
    assert rows[0]["_rescued"] == '{"/available_quantity":"x","/z":2}'
    assert [row["remote_data"] for row in rows] == ['{"b":2}', None, "2"]
    assert envelope.rescued == 2


def test_numbers_that_ijson_cannot_hold_are_read_all_the_same() -> None:
    """The engine ijson crashes at 4,301 digits and refuses long exponents; we do neither."""
    digits = "7" * 5000
    numbers = [digits, "-" + digits, "1e99999999999999999999", "0." + digits, "0e" + digits]
    records = ",".join(
        f'{{"id":{n},"available_quantity":{n},"unit_amount":{n},"remote_data":[{n}],"x":{n}}}'
        for n in numbers
    )
    table, _ = decode(f"[{records}]".encode())
    rows = table.to_pylist()
    assert [row["remote_data"] for row in rows] == [f"[{n}]" for n in numbers]
    assert [row["id"] for row in rows] == [digits, "-" + digits, None, None, None]
    assert [row["available_quantity"] for row in rows] == [None, None, None, None, 0]
    assert [row["unit_amount"] for row in rows] == [None, None, None, 7 / 9, 0.0]
    for number, row in zip(numbers, rows, strict=True):
        assert f'"/x":{number}' in row["_rescued"]


@pytest.mark.parametrize(
    "text",
    ["9007199254740993", "9007199254740993.0", "-0", "-0.0", "1e3", "123456789.125e3", "0.1e1"],
)
def test_whole_numbers_are_exact(text: str) -> None:
    row = decode(f'[{{"available_quantity":{text}}}]'.encode())[0].to_pylist()[0]
    assert row["available_quantity"] == int(parsed(text))


def test_doubles_are_rounded_to_nearest() -> None:
    texts = ["0.1", "1e-400", "5e-324", "2.4703282292062327e-324", "9007199254740993", "1e308"]
    body = "[" + ",".join(f'{{"unit_amount":{text}}}' for text in texts) + "]"
    values = decode(body.encode())[0]["unit_amount"].to_pylist()
    assert values == [float(text) for text in texts]
    assert all(math.isfinite(value) for value in values)


def test_depth_is_bounded_and_the_error_names_its_option() -> None:
    for body in (b"[" * 100_000, b'{"result":[' + b'{"a":' * 100_000, b'{"x":' + b"[" * 100_000):
        with pytest.raises(LimitExceeded, match=r"128 open brackets .*\(max_depth\)"):
            decode(body)
    nested = b'{"result":[{"remote_data":' + b"[" * 6 + b"]" * 6 + b"}]}"
    assert outcome(nested, max_depth=9)[2].rows == 1
    for cut in range(len(nested)):
        assert outcome(nested, [cut], max_depth=8)[:3] == (
            "LimitExceeded",
            31,
            "result[0].remote_data[0][0][0][0][0]",
        )


@pytest.mark.parametrize(
    "body",
    [
        b'{"result":[{"id":"' + b"a" * 300 + b'"}]}',
        b'{"result":[{"id":"' + b"\\n" * 300,
        b'{"result":[' + b"1" * 300,
        b'{"result":{"' + b"k" * 300,
        b'{"' + b"k" * 300 + b'":1,"result":[]}',
        b'{"x":"' + b"y" * 300 + b'","result":[]}',
        b'{"result"' + b" " * 300 + b":[]}",
        b'{"x":' + b" " * 300 + b"1}",
        b'{"' + b"k" * 300 + b"\x01",
        b'{"result":{"k"' + b" " * 300 + b"1}}",
        b'{"result":[[' + b"1," * 150,
    ],
)
def test_a_record_is_bounded_at_the_same_byte_however_it_is_cut(body: bytes) -> None:
    whole = outcome(body, max_record_bytes=200, key_by="id")
    assert whole[0] == "LimitExceeded"
    assert whole[4] == "max_record_bytes"
    for step in (1, 7, 64):
        cuts = list(range(step, len(body), step))
        assert outcome(body, cuts, max_record_bytes=200, key_by="id") == whole


@pytest.mark.parametrize(
    ("body", "limit", "verdict"),
    [
        (b'{"\xef\xbbre', 3, ("DecodeError", 2)),
        (b'{"\xef\xbbre', 2, ("LimitExceeded", 2)),
        (b'{"\xf0\x9f\x98', 3, ("LimitExceeded", 3)),
        (b"\xf0\x9f\x98\x80", 3, ("DecodeError", 0)),
    ],
)
def test_a_limit_and_invalid_utf8_keep_their_order_at_every_cut(
    body: bytes, limit: int, verdict: tuple[str, int]
) -> None:
    """Until a character is whole nobody knows whether it is one."""
    for ndjson in (False, True):
        whole = outcome(body, max_record_bytes=limit, ndjson=ndjson)
        if ndjson:
            assert whole[:2] == verdict
        for cut in range(len(body)):
            assert outcome(body, [cut], max_record_bytes=limit, ndjson=ndjson) == whole
        cuts = list(range(1, len(body)))
        assert outcome(body, cuts, max_record_bytes=limit, ndjson=ndjson) == whole


def test_a_record_of_exactly_the_limit_is_taken() -> None:
    record = b'{"id":"' + b"a" * 100 + b'"}'
    assert outcome(b"[" + record + b"]", max_record_bytes=len(record))[2].rows == 1
    assert outcome(b"[" + record + b"]", max_record_bytes=len(record) - 1)[1] == len(record)


def test_white_space_without_end_is_not_kept() -> None:
    decoder = open_decoder()
    decoder.feed(b'{"result":[')
    for _ in range(100):
        decoder.feed(b" \n" * 10_000)
    decoder.feed(b"{}" + b" " * 10_000 + b"," + b" " * 10_000 + b"{}]}")
    decoder.close()
    assert decoder.envelope.rows == 2


def test_strict_refuses_the_first_value_that_does_not_fit() -> None:
    body = b'{"result":[{"id":"a"},{"z":1,"available_quantity":"12","id":[]},{"id":{}}]}'
    with pytest.raises(RescueError) as caught:
        decode(body, strict=True)
    assert (caught.value.position, caught.value.path) == (27, "result[1].z")
    body = b'{"result":[{"id":"a"},{"available_quantity":"12","z":1}]}'
    with pytest.raises(RescueError, match=r'expected int64, got string "12".*available_quantity'):
        decode(body, strict=True)
    body = b'{"result":[{"id":"a"},{"products":[{"id":"x"},{"status":true}]}]}'
    with pytest.raises(RescueError, match=r"got boolean true.* at result.1..products.1..status"):
        decode(body, strict=True)


def test_a_rescue_before_a_syntax_error_comes_first_under_strict() -> None:
    body = b'{"result":[{"z":1},{"id":bad}]}'
    assert outcome(body, strict=True)[:2] == ("RescueError", 16)
    assert outcome(body)[:2] == ("DecodeError", 25)


def test_a_decoder_that_failed_stays_failed() -> None:
    decoder = open_decoder()
    with pytest.raises(DecodeError):
        decoder.feed(b"nonsense")
    with pytest.raises(UsageError, match="spent"):
        decoder.feed(b"[]")
    with pytest.raises(UsageError, match="spent"):
        decoder.close()


def test_other_schemas_decode_by_the_same_rules() -> None:
    schema = pa.schema(
        [
            pa.field("n", pa.int64()),
            pa.field("s", pa.struct([("x", pa.float64()), ("t", pa.timestamp("us", tz="UTC"))])),
            pa.field("l", pa.list_(pa.struct([("b", pa.bool_())]))),
            json_field("lost", JSON_RESCUED),
        ]
    )
    body = b'[{"n":1e2,"s":{"x":1,"t":"2024-01-01","u":0},"l":[{"b":1},{}]},{"s":[]}]'
    rows = decode(body, schema=schema)[0].to_pylist()
    assert rows[0]["n"] == 100
    assert rows[0]["s"]["x"] == 1.0
    assert rows[0]["l"] == [{"b": None}, {"b": None}]
    assert rows[0]["lost"] == '{"/s/u":0,"/l/0/b":1}'
    assert rows[1] == {"n": None, "s": None, "l": None, "lost": '{"/s":[]}'}


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("a/b", rb'[{"a\/b":1,"x\"a/b":2}]'),
        ("a/b", rb'[{"x\"a/b":2,"a\u002fb":1}]'),
        ("a\\b", rb'[{"a\\b":1,"a\b":2}]'),
        ("a" * 70, b'[{"' + rb"\u0061" * 70 + b'":1,"x\\"' + b"a" * 70 + b'":2}]'),
    ],
)
def test_a_key_is_found_however_it_is_written(name: str, body: bytes) -> None:
    """Its own bytes may stand for the end of another key."""
    lost = json_field("lost", JSON_RESCUED)
    row = decode(body, schema=pa.schema([json_field(name, JSON_VALUE), lost]))[0].to_pylist()[0]
    assert row[name] == "1"
    row = decode(body, schema=pa.schema([lost]))[0].to_pylist()[0]
    assert sorted(json.loads(row["lost"]).values()) == [1, 2]
    row = decode(body, schema=pa.schema([pa.field(name, pa.bool_()), lost]))[0].to_pylist()[0]
    assert json.loads(row["lost"])["/" + name.replace("/", "~1")] == 1


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,", " :")])
@pytest.mark.parametrize(
    "names",
    [
        *(("id", "name"), ("name", "names", "na"), ("created_at", "created_by", "c")),
        *(("a", "b", ""), ("n" * 29, "n" * 31, "n" * 40)),
    ],
)
def test_keys_that_begin_alike_are_told_apart(
    names: tuple[str, ...], separators: tuple[str, str]
) -> None:
    """From each other, and from those that no column has, in any order."""
    rng = random.Random(1)
    others = {name + "x" for name in names} | {name[:-1] for name in names} | {"x"}
    keys = sorted({*names, *others})
    records = [
        dict.fromkeys(rng.sample(keys, rng.randrange(1, 4)), number) for number in range(200)
    ]
    schema = pa.schema([*(pa.field(name, pa.int64()) for name in names),
                        json_field("lost", JSON_RESCUED)])  # fmt: skip
    body = json.dumps(records, separators=separators).encode()
    for row, record in zip(decode(body, schema=schema)[0].to_pylist(), records, strict=True):
        lost = json.loads(row.pop("lost") or "{}")
        assert row == {name: record.get(name) for name in names}
        assert lost == {f"/{key}": value for key, value in record.items() if key not in names}


@pytest.mark.parametrize("gap", [0, 1, 60, 200, 9_000])
@pytest.mark.parametrize(
    "names", [("n",), ("created_at", "created_by"), ("id", "name"), ("n" * 31, "n" * 40)]
)
def test_objects_without_members_may_be_many(names: tuple[str, ...], gap: int) -> None:
    """What might be a key is looked for in them, over long stretches without any text."""
    first, last = names[0], names[-1]
    objects = [{first: "x" * 8_000}, *[{}] * 3_000, {last: "y"}, *[{}] * 60, {last: "y"}, {}, {}]
    field = pa.struct([(name, pa.string()) for name in names])
    lost = json_field("lost", JSON_RESCUED)
    text = json.dumps(objects, separators=(",", ":")).replace("{},{}", f"{{}},{{{' ' * gap}}}", 50)
    rows = [dict.fromkeys(names) | one for one in objects]
    table, _ = decode(text.encode(), schema=pa.schema([*field, lost]))
    assert table.drop_columns("lost").to_pylist() == rows
    body = f'[{{"l":{text}}},{{"l":null}}]'.encode()
    table, _ = decode(body, schema=pa.schema([("l", pa.list_(field)), lost]))
    assert table["l"].to_pylist() == [rows, None]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        *((b'"x",', b'12",'), (b'"x",', b'"x"",'), (b'"x",', b'x",'), (b'"x",', b'"x":')),
        *((b"1,", b'1",'), (b"1,", b"01,"), (b"1,", b"1},"), (b"true,", b'true",')),
        *((b'"y"},', b'"y","'), (b'"y"},', b'"y"],'), (b'{"e"', b'["e"'), (b'{"e"', b',"e"')),
        *((b'"z"},{', b'"z"}{'), (b'"z"},{', b'"z",{'), (b'"z"},{', b'"z"},,{'), (b"[{", b'["{')),
    ],
)
def test_what_nobody_takes_apart_is_checked_all_the_same(right: bytes, wrong: bytes) -> None:
    """Also where the record before it had the same keys, and the same bytes between them."""
    good = (
        b'{"id":"i","remote_data":{"a":"x","b":1,"c":true,"d":{"e":"y"},"f":[{"g":"z"},{"g":"z"}],'
        b'"h":"x"}}'
    )
    odd = good.replace(b'"b":1', b'"b": "x"')  # A string in place of a number.
    bad = good.replace(right, wrong, 1)
    assert bad != good
    decode(b"[" + b",".join([*[good] * 9, odd, *[good] * 9]) + b"]")
    for before in (good, odd):
        with pytest.raises(DecodeError):
            decode(b"[" + b",".join([*[good] * 9, before, bad, *[good] * 9]) + b"]")


@pytest.mark.parametrize(
    "options",
    [
        *({"rows_at": ""}, {"rows_at": "a..b"}, {"rows_at": "\udcff"}),
        *({"batch_rows": 0}, {"max_depth": 0}, {"max_depth": 513}),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        open_decoder(**options)


@pytest.fixture
def without_fast(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(NO_FAST, "1")
    why_not_fast.cache_clear()
    yield
    why_not_fast.cache_clear()


@pytest.mark.usefixtures("without_fast")
def test_an_engine_asked_for_by_name_never_falls_back() -> None:
    assert engine_named("auto") == open_decoder().engine == "reference"
    with pytest.raises(UsageError, match=r"C\+\+17 compiler.*use the engine auto or reference"):
        open_decoder(engine="fast")


def test_the_fastest_engine_is_the_one_that_is_taken() -> None:
    """Where the fast engine was not built, all that compares engines would say nothing."""
    assert why_not_fast() is None
    assert engine_named("auto") == open_decoder().engine == "fast"
    assert open_decoder(engine="reference").engine == "reference"
    with pytest.raises(UsageError, match="expected one of auto, reference, fast"):
        open_decoder(engine="turbo")


def test_schemas_that_differ_in_their_roles_only_are_not_taken_for_each_other() -> None:
    """To Arrow they are equal."""
    rescued = json_field("lost", JSON_RESCUED)
    texts = pa.schema([pa.field("a", pa.string()), rescued])
    values = pa.schema([json_field("a", JSON_VALUE), rescued])
    body = b'[{"a":"x"}]'
    assert texts == values
    assert decode(body, schema=texts)[0]["a"].to_pylist() == ["x"]
    assert decode(body, schema=values)[0]["a"].to_pylist() == ['"x"']
    with pytest.raises(UsageError, match="rescued"):
        open_decoder(pa.schema([pa.field("a", pa.string()), pa.field("lost", pa.string())]))


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_many_values_that_do_not_fit_one_record_take_linear_time(engine: str) -> None:
    """Each searched for in the whole record they would take minutes."""
    if engine == "fast" and why_not_fast():
        pytest.skip("the fast engine was not built")
    keys = [f"k{i}" for i in range(100_000)]
    body = "[{" + ",".join(f'"{key}":1' for key in [*keys, "k7"]) + "}]"
    decoder = open_decoder(engine=engine, max_rescued=200_000)
    batches = [*decoder.feed(body.encode()), *decoder.close()]
    rescued = json.loads(batches[0]["_rescued"][0].as_py())
    assert list(rescued) == [f"/{key}" for key in keys if key != "k7"] + ["/k7"]
