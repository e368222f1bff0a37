"""What is asked: every parameter on the wire, and every wrong use refused before that."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import parse_qsl

import pytest

from streamlic.errors import UsageError
from streamlic.truto.query import encode_parameter, parse_remote_query
from streamlic.truto.request import LicensesRequest, identity_of

ACCOUNT = "62f44730-dd91-461e-bd6a-aedd9e0ad79d"
OTHER = "62f44730-dd91-461e-bd6a-aedd9e0ad79e"


def request(**given: Any) -> LicensesRequest:
    return LicensesRequest(account=ACCOUNT, **given)


def test_every_parameter_is_in_the_query_as_truto_reads_it() -> None:
    asked = request(
        response_format="normalized",
        product="onedrive",
        organization_id="org 1",
        limit=50,
        ignore_limit=True,
        key_by="id",
        exclude_fields=("name", "status"),
        ignore_remote_data=True,
        remote_query={"a": {"b": [1, {"c": True}]}, "d": "x&y"},
        query=(("updated_at[gt]", "2026-01-01T00:00:00Z"), ("truto_super_query", "apac")),
        next_cursor="c=1&2",
    )
    assert asked.query_items() == [
        ("integrated_account_id", ACCOUNT),
        ("truto_response_format", "normalized"),
        ("product", "onedrive"),
        ("organization_id", "org 1"),
        ("limit", "50"),
        ("truto_ignore_limit", "true"),
        ("truto_key_by", "id"),
        ("truto_ignore_remote_data", "true"),
        ("truto_exclude_fields[]", "name"),
        ("truto_exclude_fields[]", "status"),
        ("remote_query[a][b][]", "1"),
        ("remote_query[a][b][][c]", "true"),
        ("remote_query[d]", "x&y"),
        ("updated_at[gt]", "2026-01-01T00:00:00Z"),
        ("truto_super_query", "apac"),
        ("next_cursor", "c=1&2"),
    ]
    assert parse_qsl(asked.query_string(), strict_parsing=True) == asked.query_items()
    assert "updated_at%5Bgt%5D=2026-01-01T00%3A00%3A00Z" in asked.query_string()


def test_only_what_was_asked_is_sent() -> None:
    assert request().query_items() == [
        ("integrated_account_id", ACCOUNT),
        ("truto_response_format", "stream"),
    ]


@pytest.mark.parametrize(
    ("value", "pairs"),
    [
        (None, []),
        (True, [("k", "true")]),
        (1.5, [("k", "1.5")]),
        (date(2026, 1, 2), [("k", "2026-01-02")]),
        (datetime(2026, 1, 2, tzinfo=UTC), [("k", "2026-01-02T00:00:00+00:00")]),
        ({"a": {"b": 1}}, [("k[a][b]", "1")]),
        ([1, 2], [("k[]", "1"), ("k[]", "2")]),
        ([{"a": 1}], [("k[][a]", "1")]),
        ({}, []),
    ],
)
def test_values_are_encoded_by_their_type(value: Any, pairs: list[tuple[str, str]]) -> None:
    assert list(encode_parameter("k", value)) == pairs


def test_a_raw_response_has_the_vendors_fields() -> None:
    raw = LicensesRequest(account=ACCOUNT, response_format="raw", exclude_fields=("skuId",))
    assert ("truto_exclude_fields[]", "skuId") in raw.query_items()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"response_format": "csv"}, "must be one of stream, unified, normalized, raw, got 'csv'"),
        ({"product": "teams"}, "must be one of azure_active_directory, onedrive"),
        ({"limit": 0}, "1 or more, got 0 .limit."),
        ({"organization_id": " "}, "organization_id"),
        ({"key_by": "name", "exclude_fields": ("name",)}, "keyed by name, which is excluded"),
        ({"key_by": "remote_data", "ignore_remote_data": True}, "keyed by remote_data"),
        ({"key_by": "id", "response_format": "raw"}, "raw response cannot be keyed"),
        ({"key_by": "a b"}, "key_by"),
        ({"key_by": "sku"}, r"no field 'sku': expected id, .*, remote_data \(key_by\)"),
        ({"exclude_fields": ("remote-data",)}, r"\(exclude_fields\)"),
        ({"exclude_fields": ("remotedata",)}, r"did you mean remote_data\?.*\(exclude_fields\)"),
        ({"exclude_fields": ("",)}, "exclude_fields"),
        ({"exclude_fields": ("name", "name")}, "excluded twice"),
        ({"query": (("limit", "5"),)}, "limit has a parameter of its own, limit"),
        ({"query": (("remote_query[a]", "5"),)}, "remote_query"),
        ({"query": (("[x]", "5"),)}, "needs a name"),
        ({"exclude_fields": "name"}, "a list or tuple of names, got 'name' .exclude_fields."),
        ({"exclude_fields": b"name"}, "a list or tuple of names, got b'name'"),
        ({"exclude_fields": (1,)}, r"a list or tuple of names, got \(1,\)"),
        ({"exclude_fields": iter(["name"])}, "a list or tuple of names, got <list_iterator"),
        ({"query": {"ab": "1"}}, "pairs of text, got {'ab': '1'} .query."),
        ({"query": "ab"}, "pairs of text, got 'ab'"),
        ({"query": ("ab", "cd")}, r"pairs of text, got \('ab', 'cd'\)"),
        ({"query": ({"ab": 1, "cd": 2},)}, r"pairs of text, got \({'ab': 1, 'cd': 2},\)"),
        ({"query": (("a", 5),)}, r"pairs of text, got \(\('a', 5\),\)"),
        ({"query": (("a", "x" * 200),) * 2 + ((),)}, r"got \(\('a', 'x+\.\.\. "),
        ({"remote_query": "a=1"}, "expected a mapping, got 'a=1' .remote_query."),
        ({"organization_id": "\udcff"}, r"valid Unicode, got '\\udcff' \(organization_id\)"),
        ({"key_by": "a\udcff"}, "key_by"),
        ({"exclude_fields": ("a\udcff",)}, "exclude_fields"),
        ({"query": (("a", "\ud800"),)}, r"valid Unicode, got '\\ud800' \(query\)"),
        ({"query": (("a\ud800", "1"),)}, r"valid Unicode, got 'a\\ud800' \(query\)"),
        ({"remote_query": {"a": [{"b": "\udcff"}]}}, r"valid Unicode.*\(remote_query\)"),
        ({"remote_query": {"a": {"\udcff": 1}}}, r"valid Unicode.*\(remote_query\)"),
        ({"next_cursor": "\ud83d"}, r"valid Unicode.*\(next_cursor"),
    ],
)
def test_wrong_uses_are_refused_with_what_is_allowed(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        request(**given)


def test_lists_are_accepted_where_tuples_are_declared() -> None:
    asked = request(exclude_fields=["name"], query=[["a", "1"]])
    assert asked.query_string().endswith("&truto_exclude_fields%5B%5D=name&a=1")


@pytest.mark.parametrize("account", ["", "x", ACCOUNT[:-1], ACCOUNT + "0", "../" + ACCOUNT, "{}"])
def test_an_account_must_be_a_uuid(account: str) -> None:
    with pytest.raises(UsageError, match="must be a UUID such as"):
        LicensesRequest(account=account)


def test_an_account_is_the_same_in_any_case() -> None:
    assert LicensesRequest(account=ACCOUNT.upper()).account == ACCOUNT


def test_after_a_page_comes_the_request_with_its_cursor() -> None:
    first = request(limit=10)
    second = first.after("abc")
    assert second is not None
    assert second.query_items() == [*first.query_items(), ("next_cursor", "abc")]
    assert first.after(None) is None
    assert first.after("") is None
    with pytest.raises(UsageError, match="expected valid Unicode"):
        first.after("\ud800")


def test_another_account_is_asked_for_the_same() -> None:
    """A copy is what a new request would be, and its account is checked."""
    first = request(limit=10, remote_query={"a": {"b": 1}})
    other = OTHER.upper()
    assert first.of(other) == replace(first, account=OTHER)
    assert first.account != OTHER
    assert identity_of([first, first.of(other)]) == first.identity()
    with pytest.raises(UsageError, match="must be a UUID"):
        first.of("acme")


def test_the_identity_leaves_out_account_and_cursor() -> None:
    asked = request(limit=10, remote_query={"a": {"b": 1}})
    assert asked.identity() == (asked.after("x") or asked).identity()
    assert asked.identity() != request(limit=11, remote_query={"a": {"b": 1}}).identity()
    assert asked.identity() != request(limit=10, remote_query={"a": {"b": 2}}).identity()


def test_remote_query_texts_nest() -> None:
    assert parse_remote_query(
        ["a=1", "b[c][d]=2", "b[c][e]=x=y", "l[]=1", "l[]=2", "r=1", "r=2"]
    ) == {
        "a": "1",
        "b": {"c": {"d": "2", "e": "x=y"}},
        "l": ["1", "2"],
        "r": ["1", "2"],
    }
    assert parse_remote_query(["remote_query[a][b]=1"]) == {"a": {"b": "1"}}


@pytest.mark.parametrize(
    "texts", [["a"], ["=1"], ["a[=1"], ["a[]b=1"], ["[a]=1"], ["a=1", "a[b]=2"], ["a[b]=1", "a=2"]]
)
def test_remote_query_texts_that_are_none_are_refused(texts: list[str]) -> None:
    with pytest.raises(UsageError, match="remote_query"):
        parse_remote_query(texts)
