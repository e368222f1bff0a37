"""Newline-delimited bodies: a line may be a record, an envelope of records, or of facts alone."""

from __future__ import annotations

import pyarrow as pa
import pytest

from streamlic.decoder import Envelope, open_decoder
from streamlic.errors import DecodeError, PageMismatch
from streamlic.job.page_checks import check_count
from streamlic.schema.columns import JSON_RESCUED, RAW_SCHEMA, json_field
from tests.decoder.test_failure_signs import is_same_at_every_cut
from tests.support.oracle import decode, outcome


def ids_and_facts(body: bytes, **options: object) -> tuple[list[str], Envelope]:
    whole = is_same_at_every_cut(body, ndjson=True, **options)
    assert isinstance(whole[0], list), whole
    return [row["id"] for row in whole[0]], whole[2]


@pytest.mark.parametrize(
    "body",
    [
        b'{"result":[{"id":"a"},{"id":"b"}],"next_cursor":"p2"}',
        b'{"next_cursor":"p2","result":[{"id":"a"},{"id":"b"}]}\n',
        b'{"id":"a"}\n{"id":"b"}\n{"next_cursor":"p2"}\n',
        b'{"id":"a"}\n{"id":"b"}\n{"next_cursor":"p2","limit":10}\n',
        b'{"limit":null,"next_cursor":"p1"}\n{"result":[{"id":"a"},{"id":"b"}],"limit":2,"next_cursor":"p2"}',
        b'{"id":"a"}\r\n{"id":"b"}\r\n\r\n{"prev_cursor":null,"next_cursor":"p2"}\r\n',
        b'{"result":[{"id":"a"}],"next_cursor":"p1"}\n{"result":[{"id":"b"}],"next_cursor":"p2"}',
        b'{"next_cursor":"p2","result_count":0}\n{"id":"a"}\n { "result" : [ {"id":"b"} ] } ',
        b'{"x":1,"r\\u0065sult":[{"id":"a"}],"result_count":1}\n{"id":"b"}\n{"next_cursor":"p2"}',
        b'{"result":null,"next_cursor":"p1"}\n{"id":"a"}\n{"id":"b"}\n{"next_cursor":"p2"}',
        b'{"success":true,"next_cursor":"p2"}\n{"id":"a"}\n{"id":"b"}',
        b'{"result":[{"id":"a"},{"id":"b"}],"n\\u0065xt_cursor":"p2"}',
    ],
)
def test_the_rows_of_an_envelope_line_are_rows_and_its_cursor_is_the_bodys(body: bytes) -> None:
    ids, envelope = ids_and_facts(body)
    assert (ids, envelope.next_cursor, envelope.rescued) == (["a", "b"], "p2", 0)
    check_count(envelope)


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b'{"result":"passed","id":"a"}',
        b'{"id":"a","next_cursor":"p2"}',
        b'{"result_count":1,"name":"n"}',
        b'{"error":"x"}',
        b'{"limit":10}',
        b'{"id":"a","next_cursor":"p2","limit":10}',
        b'{"remote_data":{"result":[{}],"next_cursor":"x"}}',
        b'{"n\\u0065xt_curs\\u006fr":"x"}',
    ],
)
def test_a_record_is_not_an_envelope(line: bytes) -> None:
    ids, envelope = ids_and_facts(line + b"\n" + line)
    assert len(ids) == 2
    assert envelope.next_cursor is None


def test_the_last_cursor_counts_and_flags_add_up() -> None:
    partial = b'{"result":[],"is_partial_response":true,"next_cursor":"a"}\n'
    _, envelope = ids_and_facts(partial + b'{"is_partial_response":false,"next_cursor":null}')
    assert (envelope.is_partial_response, envelope.next_cursor) == (True, None)


@pytest.mark.parametrize(
    ("body", "count", "rows"),
    [
        (b'{"result":[{"id":"a"}],"result_count":1}\n{"result_count":1}', None, None),
        (b'{"id":"a"}\n{"result":[{"id":"b"}],"result_count":1}\n{"result_count":2}', None, None),
        (b'{"id":"a"}\n{"result":[{"id":"b"}],"result_count":2}\n{"id":"c"}', 2, 1),
        (b'{"id":"a"}\n{"result_count":2}\n{"id":"b"}\n{"result_count":2}', 2, 1),
        (b'{"id":"a"}\n{"result_count":2}', 2, 1),
    ],
)
def test_each_count_is_checked_with_the_rows_that_it_is_about(
    body: bytes, count: int | None, rows: int | None
) -> None:
    _, envelope = ids_and_facts(body)
    if count is None:
        check_count(envelope)
        return
    with pytest.raises(PageMismatch, match=f"expected {count} rows.*got {rows}$"):
        check_count(envelope)


def test_rows_that_come_first_in_a_line_may_take_any_length() -> None:
    records = b",".join(b'{"id":"%d"}' % number for number in range(2000))
    body = b'{ "result":[%b],"next_cursor":"p2"}\n' % records
    table, envelope = decode(body, ndjson=True, max_record_bytes=100)
    assert (len(table), envelope.next_cursor) == (2000, "p2")
    whole = outcome(body, ndjson=True, max_record_bytes=100)
    assert outcome(body, list(range(7, len(body), 97)), ndjson=True, max_record_bytes=100) == whole
    late = b'{"next_cursor":"p2","result":[%b]}' % records
    verdict = outcome(late, ndjson=True, max_record_bytes=100)
    assert verdict[:2] == ("LimitExceeded", 100)


@pytest.mark.parametrize(
    ("body", "position", "path"),
    [
        (b'{"id":"a"}\n{"result":[{"id":"b"},{"id":tru}]}', 42, "[2].id"),
        (b'{"id":"a"}\n{"result":[{"id":"b"}],"next_cursor":{}}', 48, "next_cursor"),
        (b'{"id":"a"}\n{"next_cursor":1.5}', 26, "next_cursor"),
        (b'{"result":[]} {"id":"a"}', 14, ""),
        (b'{"result":[],"result":[]}', 22, "result"),
        (b'{"next_cursor":null,"result":{"id":"a"}}', 29, "result"),
        (b'{"result":[{"id":"a"}]', 22, ""),
        (b'{"result" ', 10, "[0].result"),
    ],
)
def test_a_bad_envelope_line_is_refused_with_its_place(
    body: bytes, position: int, path: str
) -> None:
    assert is_same_at_every_cut(body, ndjson=True)[1:3] == (position, path)


def test_a_line_with_an_id_is_a_record_whatever_else_it_holds() -> None:
    for line in (b'{"id":"1","result":[]}', b'{"id":"1","result":[{"id":"x"}],"next_cursor":"p"}'):
        rows = is_same_at_every_cut(line + b'\n{"id":"2"}\n', ndjson=True)[0]
        assert [row["id"] for row in rows] == ["1", "2"]
    rows = is_same_at_every_cut(b'{"id":null,"result":[{"id":"x"}]}\n', ndjson=True)[0]
    assert [row["id"] for row in rows] == ["x"]


def test_only_rows_that_have_keys_take_them() -> None:
    """Some lines may hold keyed rows, and others rows without keys."""
    keyed, row, array = b'{"result":{"a":{}}}\n', b'{"name":"x"}\n', b'{"result":[{}]}\n'
    for lines, ids in (
        ((keyed, row), ["a", None]),
        ((row, keyed), [None, "a"]),
        ((array, keyed, array), [None, "a", None]),
        ((keyed, b"5\n"), ["a", None]),
    ):
        rows = is_same_at_every_cut(b"".join(lines), ndjson=True, key_by="id")[0]
        assert [row["id"] for row in rows] == ids


@pytest.mark.parametrize("body", [b'[{"id":"a"}]', b" [\n {}]", b"[]", b"[ ]\n"])
def test_an_array_is_not_taken_for_lines(body: bytes) -> None:
    for schema in (None, RAW_SCHEMA):
        options = {"schema": schema} if schema else {}
        whole = is_same_at_every_cut(body, ndjson=True, **options)
        assert whole[:2] == ("DecodeError", body.index(b"["))
        assert whole[3] == "expected newline-delimited records, got an array"
    assert len(is_same_at_every_cut(b'["a"]\n[{"id":"a"}]', ndjson=True)[0]) == 2


def test_raw_lines_and_columns_of_those_names_are_data() -> None:
    line = b'{"result":[1],"next_cursor":"x"}'
    rows = is_same_at_every_cut(line, ndjson=True, schema=RAW_SCHEMA)[0]
    assert rows == [{"key": None, "record": line.decode()}]
    schema = pa.schema([("result_count", pa.int64()), json_field("rest", JSON_RESCUED)])
    rows = is_same_at_every_cut(b'{"result_count":7}', ndjson=True, schema=schema)[0]
    assert rows == [{"result_count": 7, "rest": None}]


def test_a_decoder_that_refused_a_line_stays_refused() -> None:
    for engine in ("reference", "auto"):
        decoder = open_decoder(engine=engine, ndjson=True)
        with pytest.raises(DecodeError, match="listing"):
            decoder.feed(b'{"result":[],"error":"x"}\n')
            decoder.close()
