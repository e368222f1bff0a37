"""A record of which many values do not fit: each is rescued up to a bound, beyond it the record."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamlic.decoder.options import MAX_RESCUED
from streamlic.errors import RescueError
from tests.support.oracle import check_rows, decode, outcome, parsed

RECORDS: dict[str, str] = {
    "unknown": '{"id":"a","x":1,"y":2,"z":null,"available_quantity":12}',
    "nested": '{"id":"a","products":[{"x":1,"id":"p"},{"y":2},5,{"id":"q"}],"unit_amount":1.5}',
    "repeated": '{"x":1,"x":2,"id":[],"id":"a","x":3,"y":4}',
    "escaped": '{"x":1,"\\u0078":2,"y":3,"\\ud800":4,"id":"\\udc00"}',
    "no object": "[1,2,3,4,5]",
}


def pointers(text: str, most: int) -> list[str]:
    table, envelope = decode(f"[{text}]".encode(), max_rescued=most)
    check_rows(table.to_pylist(), parsed(f"[{text}]"), most)
    rescued = list(json.loads(table["_rescued"][0].as_py()))
    assert envelope.rescued == len(rescued)
    return rescued


@pytest.mark.parametrize(
    ("name", "count"),
    [("unknown", 3), ("nested", 3), ("repeated", 2), ("escaped", 3), ("no object", 1)],
)
def test_beyond_the_bound_the_record_is_kept_whole(name: str, count: int) -> None:
    for most in range(1, 6):
        found = pointers(RECORDS[name], most)
        assert (found == [""]) == (most < count or name == "no object")
        assert len(found) == (count if most >= count else 1)


def test_the_columns_keep_what_did_fit() -> None:
    [row] = decode(f"[{RECORDS['nested']}]".encode(), max_rescued=2)[0].to_pylist()
    assert (row["id"], row["unit_amount"]) == ("a", 1.5)
    assert row["_rescued"] == f'{{"":{RECORDS["nested"]}}}'
    assert [one and one["id"] for one in row["products"]] == ["p", None, None, "q"]


def test_its_neighbours_are_rescued_value_by_value_at_every_cut() -> None:
    texts = ['{"id":"b"}', '{"x":1}', *RECORDS.values(), '{"y":"\\ud800","x":2}']
    body = f"[{','.join(texts)}]".encode()
    whole = outcome(body, max_rescued=2)
    check_rows(whole[0], parsed(body), 2)
    for cut in range(len(body)):
        assert outcome(body, [cut], max_rescued=2) == whole


@pytest.mark.parametrize("shape", ["keys", "elements", "repeats"])
def test_the_bound_is_exact_for_many_values(shape: str) -> None:
    """Also where keys repeat or other values fit: only the values that do not fit count."""

    def body(count: int) -> str:
        numbers = range(count)
        if shape == "keys":
            return "{" + ",".join(f'"k{i}":1' for i in numbers) + ',"id":"a"}'
        if shape == "elements":
            return '{"products":[{},' + ",".join('{"x":1,"id":"p"}' for _ in numbers) + "]}"
        return "{" + ",".join(f'"id":1,"k{i}":1,"k{i}":2,"k0":3' for i in numbers) + "}"

    assert len(pointers(body(MAX_RESCUED), MAX_RESCUED)) == MAX_RESCUED
    assert pointers(body(MAX_RESCUED + 1), MAX_RESCUED) == [""]
    if shape == "keys":
        assert pointers(body(3 * MAX_RESCUED), MAX_RESCUED) == [""]


def test_strict_names_the_bound() -> None:
    body = b'[{"id":"a"},{"x":1,"y":2,"id":"b"}]'
    with pytest.raises(RescueError) as caught:
        decode(body, strict=True)
    assert (caught.value.position, caught.value.path) == (17, "[1].x")
    with pytest.raises(RescueError, match="at most 1 values that do not fit, got object") as caught:
        decode(body, strict=True, max_rescued=1)
    assert (caught.value.position, caught.value.path) == (12, "[1]")


def test_of_a_long_value_strict_shows_the_beginning() -> None:
    text = "é" * 3000
    whole: Any = outcome(f'[{{"x":"{text}"}}]'.encode(), strict=True)
    assert whole[3] == f'expected no such field, got string "{text[:56]}...'
    assert whole[4] == "strict"


@pytest.mark.parametrize("most", [2, 100])
def test_a_list_of_mostly_nulls_is_a_column_like_any_other(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """However few its objects are, and whatever does not fit in them."""
    monkeypatch.setattr("streamlic.decoder.reference.columns._MANY", 0)
    lists = [
        '[null,1,{"id":"a"},null,2,null]',
        "[null,null,null]",
        '[7,{"id":8,"x":1},true,null,{"name":"n","status":[1]}]',
        "[]",
    ]
    records = ",".join(f'{{"id":"r","products":{one},"roles":{one}}}' for one in lists)
    table, _ = decode(f"[{records}]".encode(), max_rescued=most)
    check_rows(table.to_pylist(), parsed(f"[{records}]"), max_rescued=most)
