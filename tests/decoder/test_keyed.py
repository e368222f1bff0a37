"""Rows that are an object: the field of the key is given, and no key is lost."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from streamlic.decoder import DecoderOptions
from streamlic.errors import DecodeError, UsageError
from streamlic.schema.columns import JSON_RECORD, RAW_SCHEMA, json_field
from tests.decoder.test_failure_signs import is_same_at_every_cut
from tests.fuzz.bodies import OTHER_SCHEMA
from tests.support.oracle import check_rows, decode, judged, parsed


def keyed(rows: str, key_by: str | None = "id", **options: Any) -> Any:
    body = f'{{"result":{rows},"next_cursor":null}}'.encode()
    return is_same_at_every_cut(body, key_by=key_by, **options)


def test_keyed_rows_are_all_kept() -> None:
    whole = keyed('{"a":{"id":"a"},"b":{"id":"b"},"a":{"id":"a2"}}')
    assert [row["id"] for row in whole[0]] == ["a", "b", "a2"]
    assert whole[2].is_keyed
    assert keyed("{}")[0] == []


def test_an_object_of_rows_without_the_field_is_an_error_that_names_both_readings() -> None:
    body = b'{"result":{"id":"a","name":"one license","available_quantity":5}}'
    whole = is_same_at_every_cut(body)
    assert whole[:3] == ("DecodeError", 10, "result")
    assert "one record, or records keyed by a field" in whole[3]
    assert whole[4] == "key_by"


ROWS = (
    '{"E5":null,"E3":{"name":"no id"},"E1":{"id":null,"name":[]},"x\\u00e9/~":7,"":"text",'
    '"n":{"id":"own"},"m":{"id":[1]},"r":{"id":[1],"id":null},"\\ud800":{"sku":{"\\ud800":1}},'
    '"i":{"\\u0069d":"escaped"},"j":{"\\u0069d":null,"x":1},"q\\"":["a"],"name":"z"}'
)


@pytest.mark.parametrize(
    "key_by", ["id", "name", "available_quantity", "remote_data", "products", "sku", 'q"/~']
)
def test_no_key_is_lost(key_by: str) -> None:
    whole = keyed(ROWS, key_by)
    want = judged(f'{{"result":{ROWS}}}'.encode())
    assert want is not None
    assert want.keys is not None
    assert len(whole[0]) == 13
    check_rows(whole[0], want.records, keys=want.keys, key_by=key_by)
    rescued = [json.loads(row["_rescued"] or "{}") for row in whole[0]]
    assert whole[2].rescued == sum(map(len, rescued))


def test_a_key_is_in_its_column_or_first_among_what_is_rescued() -> None:
    rows = keyed('{"E5":null,"E3":{"name":"n","x":1}}')[0]
    assert [(row["id"], row["_rescued"]) for row in rows] == [
        ("E5", '{"/E5":null}'),
        ("E3", '{"/x":1}'),
    ]
    rows = keyed('{"E5":[1, 2],"E3":{"name":"n","x":1,"sku":null}}', "sku")[0]
    assert [row["_rescued"] for row in rows] == ['{"/E5":[1, 2]}', '{"/sku":"E3","/x":1}']


def test_other_schemas_take_keys_too() -> None:
    for key_by in ("n", "s", "l", "name", 'q"uote', "x\u00e9", "lost"):
        rows = keyed(
            '{"a":{"n":1},"b":{},"c":7,"d":{"name":null,"s":null}}', key_by, schema=OTHER_SCHEMA
        )[0]
        texts = [json.dumps(row, default=str) for row in rows]
        if key_by in ('q"uote', "x\u00e9"):
            assert [row[key_by] for row in rows] == ["a", "b", "c", "d"]
        assert all(key in text for key, text in zip("abcd", texts, strict=True)) or key_by == "n"
        assert '"/c' in rows[2]["lost"].replace("\\", "")


def test_strict_refuses_a_key_that_no_column_takes() -> None:
    good = keyed('{"a":{"id":"a"},"b":{}}', strict=True)
    assert [row["id"] for row in good[0]] == ["a", "b"]
    assert keyed('{"a":{"id":"a"},"b":5}', strict=True)[:3] == ("RescueError", 30, "result.b")
    none = keyed('{"a":{"available_quantity":1},"b":{"x":1}}', "available_quantity", strict=True)
    assert none[:3] == ("RescueError", 44, "result.b")
    assert "available_quantity" in none[3]
    earlier = keyed('{"a":{"x":1},"b":{}}', "available_quantity", strict=True)
    assert earlier[2] == "result.a"


def test_raw_rows_have_their_keys_in_a_column() -> None:
    body = b'{"plans":{"base":{"type":"monthly"},"b\\u00e9":null,"":[1]}}'
    whole = is_same_at_every_cut(body, schema=RAW_SCHEMA, rows_at="plans")
    assert whole[0] == [
        {"key": "base", "record": '{"type":"monthly"}'},
        {"key": "b\u00e9", "record": None},
        {"key": "", "record": "[1]"},
    ]
    alone = pa.schema([json_field("record", JSON_RECORD)])
    table, _ = decode(body, schema=alone, rows_at="plans", key_by="id")
    assert table["record"].to_pylist() == ['{"type":"monthly"}', None, "[1]"]
    table, _ = decode(b'[{"a":1}]', schema=RAW_SCHEMA)
    assert table.to_pylist() == [{"key": None, "record": '{"a":1}'}]


def test_a_batch_of_many_keyed_rows_is_the_same_in_every_engine() -> None:
    rows = ",".join(f'"k{at}":{"{}" if at % 3 else at}' for at in range(3000))
    table, _ = decode(f'{{"result":{{{rows}}}}}'.encode(), key_by="id", batch_rows=700)
    assert table["id"].to_pylist() == [f"k{at}" for at in range(3000)]
    assert parsed(table["_rescued"][3].as_py()) == {"/k3": 3}


@pytest.mark.parametrize("key_by", ["", "\ud800"])
def test_a_field_that_is_none_is_refused(key_by: str) -> None:
    with pytest.raises(UsageError, match="key_by"):
        DecoderOptions(key_by=key_by)


def test_the_place_of_an_error_in_a_keyed_row_has_its_key() -> None:
    with pytest.raises(DecodeError, match=r"result\.a\.id"):
        decode(b'{"result":{"a":{"id":tru}}}', key_by="id")
