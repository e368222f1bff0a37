"""A complete body that says that the listing failed is a failure, wherever it says so."""

from __future__ import annotations

import json
import random
from typing import Any

import pyarrow as pa
import pytest

from streamlic.errors import DecodeError, ReportedFailure
from streamlic.schema.columns import JSON_RESCUED, RAW_SCHEMA, json_field
from tests.support.oracle import check_rows, decode, judged, outcome

ERROR = b'"statusCode":502,"error":"Bad Gateway","message":"vendor failed"'
SPRINGS = (
    b'"timestamp":"2026-11-26T20:00:00.000+00:00","status":500,"error":"Internal Server Error",'
    b'"path":"/unified/user-directory/licenses"'
)


def is_same_at_every_cut(body: bytes, **options: Any) -> Any:
    """Return what a body comes to, whole, byte by byte, and in two pieces."""
    whole = outcome(body, **options)
    step = 3 if len(body) <= 150 else 7  # Byte by byte it is cut anywhere, too.
    for cut in range(0, len(body) + 1, step):
        assert outcome(body, [cut], **options) == whole
    assert outcome(body, list(range(1, len(body))), **options) == whole
    return whole


def reported(body: bytes, **options: Any) -> ReportedFailure:
    with pytest.raises(ReportedFailure) as raised:
        decode(body, **options)
    is_same_at_every_cut(body, **options)
    return raised.value


def long_report(body: bytes, **options: Any) -> ReportedFailure:
    with pytest.raises(ReportedFailure) as raised:
        decode(body, **options)
    error = raised.value
    whole = (type(error).__name__, error.position, error.path, error.reason)
    assert outcome(body, [len(body) // 3, len(body) - 20], **options) == whole
    return error


@pytest.mark.parametrize(
    "sign",
    [
        b'"statusCode":502',
        b'"statusCode":4.0e2',
        b'"statusCode":"429"',
        b'"error":"Bad Gateway"',
        b'"error":{"code":1}',
        b'"errors":[{"message":"part 2 failed"}]',
        b'"errors":{"a":1}',
        b'"truto_is_remote_error":true',
        b'"success":false',
        b'"suc\\u0063ess":false',
        b'"success":true,"success":false',
    ],
)
def test_a_sign_in_trutos_envelope_is_a_failure_before_and_after_the_rows(sign: bytes) -> None:
    for body in (
        b'{"result":[{"id":"a"}],"next_cursor":null,%b}' % sign,
        b'{%b,"result":[{"id":"a"},{"id":"b"}]}' % sign,
        b"{%b}" % sign,
        b'{"result":null,%b}' % sign,
    ):
        error = reported(body)
        assert (error.position, error.path) == (len(body) - 1, "")


@pytest.mark.parametrize(
    "members",
    [
        b'"statusCode":200,"error":null',
        b'"error":"","errors":[],"success":true',
        b'"error":{},"errors":{},"truto_is_remote_error":false',
        b'"statusCode":"5e2","success":null,"errors":""',
        b'"statusCode":"-502","status":502',
        b'"message":"nothing failed","details":{"error":1},"statusCode":true',
        b'"error":"x","error":null',
    ],
)
def test_members_without_a_sign_are_not_a_failure(members: bytes) -> None:
    whole = is_same_at_every_cut(b'{"result":[{"id":"a"}],%b}' % members)
    assert [row["id"] for row in whole[0]] == ["a"]


def test_all_that_an_envelope_says_of_its_failure_is_kept() -> None:
    insight = {"rate_limit_error": {"description": "slow", "value": True}}
    members = {
        "statusCode": 429,
        "error": "Too Many Requests",
        "message": "",
        "raw_response": {"any": ["thing", 1.5, 10**30]},
        "truto_is_remote_error": True,
        "truto_error_insight": insight,
        "details": None,
    }
    body = json.dumps({"message": "first", "result": [{}], "x": 1, **members}).encode()
    error = reported(body)
    assert error.members == {**members, "raw_response": {"any": ["thing", 1.5, 1e30]}}
    assert "statusCode 429" in str(error)


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1])
def test_a_long_member_of_an_envelope_is_a_sign_all_the_same(size: int) -> None:
    with pytest.raises(ReportedFailure) as raised:
        decode(b'{"result":[],"error":"%b"}' % (b"x" * size))
    assert len(str(raised.value)) < 500
    assert raised.value.members["error"].startswith("xxx")
    table, envelope = decode(b'{"result":[{"id":"a"}],"next_cursor":"%b"}' % (b"c" * size))
    assert (len(table), len(envelope.next_cursor or "")) == (1, size)


def test_a_long_array_in_an_envelope_is_a_sign_all_the_same() -> None:
    many = b"1," * (1 << 19)
    with pytest.raises(ReportedFailure) as raised:
        decode(b'{"result":[],"errors":[%b1]}' % many)
    assert raised.value.members == {"errors": "..."}
    with pytest.raises(DecodeError, match="expected a whole number or null, got a very long value"):
        decode(b'{"result":[],"result_count":[%b1]}' % many)


def test_the_first_error_in_a_body_counts() -> None:
    later = b'{"result":[{"id":"a"}],' + ERROR + b"} trailing"
    assert outcome(later)[0] == "ReportedFailure"
    cut = b'{"result":[{"id":"a"}],' + ERROR
    assert is_same_at_every_cut(cut)[0] == "TruncatedBody"
    earlier = b'{"result":[{"id":tru}],' + ERROR + b"}"
    assert is_same_at_every_cut(earlier)[:2] == ("DecodeError", 20)
    wrong_type = b'{"next_cursor":{},"result":[{"id":1}],' + ERROR + b"}"
    assert is_same_at_every_cut(wrong_type)[:3] == ("DecodeError", 15, "next_cursor")
    rescue = b'{"result":[{"id":[]}],' + ERROR + b"}"
    assert is_same_at_every_cut(rescue, strict=True)[0] == "RescueError"


@pytest.mark.parametrize(
    "record",
    [
        b"{%b}" % ERROR,
        b'{"id":null,%b}' % ERROR,
        b'{"id":"a","id":null,%b,"name":"n"}' % ERROR,
        b'{"truto_is_remote_error":true}',
        b'{"name":[],"truto_is_remote_error" : true}',
        b'{"statusCode":4e2,"error":["x"]}',
        b'{"statusCode":"429","error":"x"}',
        b'{"statusCode":"500.0","message":"x","name":"n"}',
        b'{"error":"x","message":"m"}',
        b'{"message":null,"sku":1,"id":null,"name":null,"error":{"code":1}}',
        b'{"success":false}',
        b"{%b}" % SPRINGS,
        b'{"path":"/p","error":["x"],"name":"n","id":null,"timestamp":1,"status":4e2}',
        b'{"status":"active","status":500,"error":"x","p\\u0061th":"/p","timestamp":"t"}',
        b'{"id":null,"statusCode":200,"success":false,"reason":"x"}',
        b'{"x":"%b",%b}' % (b"x" * (1 << 20), ERROR),
    ],
)
def test_an_error_report_in_place_of_a_record_is_a_failure(record: bytes) -> None:
    at: dict[str, tuple[bytes, str, dict[str, Any]]] = {
        "array": (b'[{"id":"a"},%b]', "[1]", {}),
        "envelope": (b'{"result":[{"id":"a"} , %b],"next_cursor":null}', "result[1]", {}),
        "keyed": (b'{"result":{"a":{},"b":%b}}', "result.b", {"key_by": "id"}),
        "lines": (b'{"id":"a"}\n%b\n{"id":"b"}\n', "[1]", {"ndjson": True}),
        "line": (b"%b", "[0]", {"ndjson": True}),
    }
    is_long = len(record) > 1000
    for name in ("array", "line") if is_long else at:
        shape, path, options = at[name]
        body = shape % record
        error = long_report(body, **options) if is_long else reported(body, **options)
        assert (error.position, error.path) == (body.index(record), path)
        assert outcome(body, strict=True, **options)[0] == "ReportedFailure"


def test_an_error_report_comes_before_a_rescue_of_its_own_and_after_one_before_it() -> None:
    report = b"{%b}" % ERROR
    assert is_same_at_every_cut(b"[%b]" % report, strict=True)[0] == "ReportedFailure"
    before = b'[{"sku":1},%b,{"id":tru}]' % report
    assert is_same_at_every_cut(before, strict=True)[0] == "RescueError"
    assert is_same_at_every_cut(before)[:3] == ("ReportedFailure", 11, "[1]")
    broken = b'[{"id":1},{"id":tru},%b]' % report
    assert is_same_at_every_cut(broken)[0] == "DecodeError"
    many = b'[%b{"id":"x"},%b,{"id":"y"}]' % (b'{"id":"a"},' * 3000, report)
    assert outcome(many)[:3] == ("ReportedFailure", 33_001 + 11, "[3001]")


@pytest.mark.parametrize(
    "record",
    [
        b'{"id":"a",%b}' % ERROR,
        b'{"id":"","statusCode":500,"error":"x"}',
        b'{"id":{},"statusCode":500,"error":"x"}',
        b'{"i\\u0064":7,"statusCode":500,"error":"x"}',
        b'{"statusCode":500}',
        b'{"statusCode":200,"error":"x"}',
        b'{"statusCode":"500x","error":"x"}',
        b'{"statusCode":"500","error":""}',
        b'{"statusCode":500,"error":""}',
        b'{"statusCode":500,"statusCode":1,"error":"x"}',
        b'{"error":"x"}',
        b'{"truto_is_remote_error":false}',
        b'{"remote_data":{%b}}' % ERROR,
        b'{"name":"\\"statusCode\\":500,\\"error\\":1"}',
        b'["statusCode",500,"error"]',
        b'{"error":"x","message":"m","name":"n"}',
        b'{"name":"n","error":"x","message":"m"}',
        b'{"id":"a","error":"x","message":"m","success":false}',
        b'{"name":"n","name":null,"error":"x","message":"m"}',
        b'{"error":"","message":"m"}',
        b'{"id":"a",%b}' % SPRINGS,
        b'{"status":500,"error":"x","path":"/p"}',
        b'{"status":500,"error":"x","timestamp":"t"}',
        b'{"status":500,"path":"/p","timestamp":"t"}',
        b'{"status":500,"error":"","path":"/p","timestamp":"t"}',
        b'{"status":"500","error":"x","path":"/p","timestamp":"t"}',
        b'{"status":200,"error":"x","path":"/p","timestamp":"t"}',
        b'{"success":false,"is_paid":true}',
        b'{"success":null,"message":"m"}',
        b'{"remote_data":{"error":"x","message":"m","success":false}}',
        b'{"id":"a","x":"%b",%b}' % (b"x" * (1 << 20), ERROR),
    ],
)
def test_a_data_record_is_not_a_report(record: bytes) -> None:
    for body, ndjson in ((b"[%b]" % record, False), (b"%b\n" % record, True)):
        rows = outcome(body, ndjson=ndjson)[0]
        assert len(rows) == 1
        assert outcome(body, [len(body) // 2], ndjson=ndjson)[0] == rows


SHAPES: dict[str, tuple[bytes, dict[str, Any]]] = {
    "array": (b'[{"id":"a"},{%b}]', {}),
    "lines": (b'{"id":"a"}\n{%b}\n', {"ndjson": True}),
    "keyed": (b'{"result":{"a":{},%b}}', {"key_by": "id"}),
    "envelope": (b'{"result":null,%b}', {}),
    "raw": (b'{"value":[{%b}]}', {"schema": RAW_SCHEMA, "rows_at": "value"}),
}


@pytest.mark.parametrize("name", SHAPES)
def test_of_a_long_message_the_start_is_kept(name: str) -> None:
    shape, options = SHAPES[name]
    said = b'"statusCode":"503","message":"%b"' % (b"x" * (1 << 20))
    members = long_report(shape % said, **options).members
    assert members == {"statusCode": 503, "message": "x" * 1000 + "..."}


@pytest.mark.parametrize(
    ("piece", "kept"),
    [
        (b"xy\\n", "xy\n" * 333 + "x..."),
        (b"\\ud83d\\ude00x", "\U0001f600x" * 333 + "\ufffd..."),
        ("\u00e9".encode(), "\u00e9" * 1000 + "..."),
    ],
    ids=["escapes", "surrogates", "two bytes"],
)
def test_the_start_of_a_message_ends_after_a_whole_character(piece: bytes, kept: str) -> None:
    message = piece * ((1 << 20) // len(piece) + 1)
    with pytest.raises(ReportedFailure) as raised:
        decode(b'[{"statusCode":503,"message":"%b"}]' % message)
    assert raised.value.members == {"statusCode": 503, "message": kept}


@pytest.mark.parametrize(
    "rows",
    [
        b"{%b}" % ERROR,
        b'{"id":null,"statusCode":"429","error":"x"}',
        b'{"truto_is_remote_error":true,"statusCode":null}',
        b'{"E5":{"id":"a"},%b,"E3":{}}' % ERROR,
        b'{"statusCode":429,"error":{"code":1},"id":{"name":"n"}}',
        b'{"error":"x","message":"m"}',
        b'{"E5":{"name":"n"},"success":false}',
        b"{%b}" % SPRINGS,
    ],
)
def test_an_error_report_in_place_of_keyed_rows_is_a_failure(rows: bytes) -> None:
    body = b'{"result":%b,"next_cursor":null}' % rows
    for key_by in ("id", "name"):
        error = reported(body, key_by=key_by)
        assert (error.position, error.path) == (body.rindex(b"}", 0, -1), "result")
        assert outcome(body, key_by=key_by, strict=True) == outcome(body, key_by=key_by)
    assert is_same_at_every_cut(body, key_by="id", strict=True)[0] == "ReportedFailure"
    lines = b'{"id":"b"}\n%b\n' % body
    assert is_same_at_every_cut(lines, key_by="id", ndjson=True)[0] == "ReportedFailure"


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        (b'{"result":{"a":7}}', ("RescueError", 15, "result.a")),
        (b'{"result":{"a":7,"b":{"sku":1},"c":[]}}', ("RescueError", 15, "result.a")),
        (b'{"result":{"b":{"sku":1},"a":7}}', ("RescueError", 16 + 6, "result.b.sku")),
        (b'{"result":{"b":{"sku":1},%b}}' % ERROR, ("RescueError", 22, "result.b.sku")),
        (b'{"result":{"statusCode":502,"a":tru}}', ("RescueError", 24, "result.statusCode")),
        (b'{"result":{"statusCode":502}} x', ("RescueError", 24, "result.statusCode")),
        (b'{"result":{"statusCode":502},"next_cursor":{}}', ("RescueError", 24,
                                                              "result.statusCode")),
        (b'{"next_cursor":{},"result":{"statusCode":502}}', ("DecodeError", 15, "next_cursor")),
        (b'{"result":{"a":7,"b":{%b}}}' % ERROR, ("ReportedFailure", 21, "result.b")),
        (b'{"result":{"a":7},"success":false}', ("ReportedFailure", 33, "")),
        (b'{"result":{"statusCode":502,"a":"\xff"}}', ("RescueError", 24, "result.statusCode")),
        (b'{"result":{"statusCode":502,"err', ("TruncatedBody", 32, "result")),
    ],
)  # fmt: skip
def test_strict_holds_what_may_belong_to_a_report_of_keyed_rows(
    body: bytes, verdict: tuple[str, int, str]
) -> None:
    """A report that follows comes first. No other error of the body does."""
    assert is_same_at_every_cut(body, key_by="id", strict=True)[:3] == verdict


@pytest.mark.parametrize(
    "rows",
    [
        b'{"statusCode":{"id":"a"},"error":{"id":"b"},"message":{"id":"c"},"success":{}}',
        b'{"error":{"id":"a"},"message":"no record"}',
        b'{"id":"one license","statusCode":500,"error":"x"}',
        b'{"statusCode":200,"error":"x"}',
        b'{"success":false,"name":"n"}',
        b'{"success":true,"error":null}',
        b'{"statusCode":429,"statusCode":{},"error":{}}',
        b'{"timestamp":{},"status":{"id":500},"error":{},"path":{}}',
    ],
)
def test_keyed_rows_are_not_a_report(rows: bytes) -> None:
    assert isinstance(is_same_at_every_cut(b'{"result":%b}' % rows, key_by="id")[0], list)


def test_keyed_rows_of_a_raw_body_are_a_report_by_a_status_alone() -> None:
    raw = {"schema": RAW_SCHEMA, "rows_at": "plans"}
    whole = is_same_at_every_cut(b'{"plans":{%b}}' % ERROR, **raw)
    assert whole[:3] == ("ReportedFailure", 10 + len(ERROR), "plans")
    for rows in (b'"error":"x","message":"m"', b'"success":false'):
        assert isinstance(is_same_at_every_cut(b'{"plans":{%b}}' % rows, **raw)[0], list)


def test_an_error_of_spring_in_place_of_a_body_is_a_failure() -> None:
    body = b"{%b}" % SPRINGS
    for options in ({}, {"ndjson": True}, {"schema": RAW_SCHEMA, "rows_at": "value"}):
        error = reported(body, **options)
        assert (error.members["status"], error.members["error"]) == (500, "Internal Server Error")


def test_of_raw_records_only_a_status_makes_a_report() -> None:
    raw = {"schema": RAW_SCHEMA, "rows_at": "value"}
    assert len(is_same_at_every_cut(b'{"value":[{"id":1,%b}]}' % SPRINGS, **raw)[0]) == 1
    for shape in (b'{"value":[{"a":1},{%b}]}', b'{"value":{%b}}'):
        assert is_same_at_every_cut(shape % SPRINGS, **raw)[0] == "ReportedFailure"
    for record in (b'{"error":"x","message":"m"}', b'{"success":false}'):
        assert len(is_same_at_every_cut(b'{"value":[%b]}' % record, **raw)[0]) == 1
    whole = is_same_at_every_cut(b'{"value":[{"statusCode":"500","error":"x"}]}', **raw)
    assert whole[0] == "ReportedFailure"


def test_a_broken_row_comes_before_the_report_of_all_rows() -> None:
    body = b'{"result":{"a":{"id":tru},%b,"error":{"a":nul}}}' % ERROR
    assert is_same_at_every_cut(body, key_by="id")[:2] == ("DecodeError", 24)
    body = b'{"result":{%b,"error":{"a":nul}}}' % ERROR
    assert is_same_at_every_cut(body, key_by="id")[0] == "DecodeError"


def test_fields_that_are_columns_are_data() -> None:
    schema = pa.schema([("message", pa.string()), json_field("rest", JSON_RESCUED)])
    rows = is_same_at_every_cut(b'[{"error":"x","message":"m"}]', schema=schema)[0]
    assert rows == [{"message": "m", "rest": '{"/error":"x"}'}]
    schema = pa.schema([("statusCode", pa.int64()), json_field("rest", JSON_RESCUED)])
    rows = is_same_at_every_cut(b'[{"statusCode":500,"error":"x"}]', schema=schema)[0]
    assert rows == [{"statusCode": 500, "rest": '{"/error":"x"}'}]
    schema = pa.schema([("error", pa.string()), json_field("rest", JSON_RESCUED)])
    rows = is_same_at_every_cut(b"[{%b}]" % SPRINGS, schema=schema)[0]
    assert [row["error"] for row in rows] == ["Internal Server Error"]


def test_of_raw_bodies_only_a_whole_error_report_is_a_failure() -> None:
    raw = {"schema": RAW_SCHEMA, "rows_at": "value"}
    for sign in (b'"success":false', ERROR, b'"errors":[1]', b'"error":"x"'):
        assert len(is_same_at_every_cut(b'{"value":[{"id":1}],%b}' % sign, **raw)[0]) == 1
    for error in (ERROR, SPRINGS):
        assert is_same_at_every_cut(b"{%b}" % error, **raw)[0] == "ReportedFailure"
    assert len(is_same_at_every_cut(b'{%b,"value":[{"id":1}]}' % SPRINGS, **raw)[0]) == 1
    assert is_same_at_every_cut(b'{"success":false}', **raw)[0] == "DecodeError"
    trutos = b'{"value":[{"id":1}],"truto_is_remote_error":true}'
    assert is_same_at_every_cut(trutos, **raw)[0] == "ReportedFailure"
    body = b'{"value":[{"a":1},{"b":"%b"},{%b},{"a":2}]}' % (b"x" * 300, ERROR)
    assert outcome(body, **raw)[:3] == ("ReportedFailure", body.index(b'{"stat'), "value[2]")
    is_same_at_every_cut(body, **raw)
    with_id = b'{"value":[{"id":1,%b}]}' % ERROR
    assert len(outcome(with_id, **raw)[0]) == 1


PIECES = [
    *('"id":"a"', '"id":null', '"statusCode":500', '"statusCode":200', '"error":"x"', '"error":0'),
    *('"name":"n"', '"truto_is_remote_error":true', '"x":{"statusCode":500,"error":1}'),
    *('"statusCode":"429"', '"message":"m"', '"success":false', '"currency":null'),
    *('"status":503,"timestamp":7', '"status":"active"', '"path":"/p"'),
]
TRAILERS = [
    *('"next_cursor":"x"', '"next_cursor":null', '"error":"x"', '"errors":[]', '"success":false'),
    *('"success":true', '"statusCode":200', '"statusCode":429', '"is_partial_response":true'),
    '"message":"m"',
]


@pytest.mark.parametrize("seed", range(12))
def test_generated_bodies_are_what_json_alone_says(seed: int) -> None:
    """The third judge decides which bodies report a failure, and what the others hold."""
    rng = random.Random(seed)
    for _ in range(10):
        records = [
            "{" + ",".join(rng.sample(PIECES, rng.randrange(4))) + "}"
            for _ in range(rng.randrange(4))
        ]
        more = "".join("," + one for one in rng.sample(TRAILERS, rng.randrange(3)))
        rows = f"[{','.join(records)}]"
        members = [f'"k~{at}":{one}' for at, one in enumerate([*records, "5"])]
        pieces = {one.partition(":")[0]: one for one in rng.sample(PIECES, rng.randrange(3))}
        keyed = "{" + ",".join([*members, *pieces.values()]) + "}"
        lines = [*records, f'{{"result":{rows}{more}}}', "{" + more[1:] + "}"]
        rng.shuffle(lines)
        key_by = rng.choice(["id", "name", "sku"])
        shapes: list[tuple[str, dict[str, Any]]] = [
            (rows, {}),
            (f'{{"result":{rows}{more}}}', {}),
            (f'{{"result":null{more}}}', {}),
            (f'{{"result":{keyed}{more}}}', {"key_by": key_by}),
            ("\n".join(lines), {"ndjson": True}),
        ]
        for text, options in shapes:
            body = text.encode()
            found = outcome(body, [rng.randrange(len(body) + 1)], **options)
            want = judged(body, ndjson="ndjson" in options)
            if want is None:
                assert found[0] == "ReportedFailure"
            else:
                check_rows(found[0], want.records, keys=want.keys, key_by=options.get("key_by"))
                assert found[2].next_cursor == want.next_cursor
