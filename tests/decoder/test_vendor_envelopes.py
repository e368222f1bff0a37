"""Raw bodies: by what a vendor's own envelope names a further page."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamlic.schema.columns import RAW_SCHEMA
from tests.decoder.test_failure_signs import is_same_at_every_cut
from tests.support.oracle import decode

NAMED: list[tuple[dict[str, Any], str]] = [
    ({"@odata.nextLink": "https://x"}, "@odata.nextLink"),
    ({"response_metadata": {"next_cursor": "dXNlcg=="}}, "response_metadata.next_cursor"),
    ({"paging": {"next": {"after": "100"}}}, "paging.next"),
    ({"links": {"prev": None, "next": "https://x.test/?page=2"}}, "links.next"),
    ({"_links": {"next": {"href": "https://x"}}}, "_links.next"),
    ({"links": {"next": {"href": "https://x", "meta": {}}}}, "links.next"),
    ({"links": [{"rel": "self", "href": "a"}, {"rel": "next", "href": "b"}]}, "links.next"),
    ({"meta": {"page": {"nextPageToken": "t"}}}, "meta.page.nextPageToken"),
    ({"has_more": True}, "has_more"),
    ({"hasMore": True}, "hasMore"),
    ({"paging": {"has-more": True}}, "paging.has-more"),
    ({"isLast": False}, "isLast"),
    ({"lastPage": False}, "lastPage"),
    ({"page": {"is_last_page": False}}, "page.is_last_page"),
    ({"next_page": 2}, "next_page"),
    ({"nextRecordsUrl": "/services/x"}, "nextRecordsUrl"),
    ({"next_cursor": {"any": "thing"}}, "next_cursor"),
]
NONE: list[dict[str, Any]] = [
    {"nextPage": 0},
    {"nextPage": 0.0, "next": False, "next_token": None, "nextLink": ""},
    {"next": {}, "links": {"next": []}},
    {"_links": {"next": {"href": None}}, "paging": {"next": {"after": ""}}},
    {"has_more": False, "hasMore": "true", "more": 1},
    {"isLast": True, "lastPage": 5, "last": None},
    {"links": [{"rel": "self", "href": "a"}, {"rel": "next", "href": ""}]},
    {"links": {"prev": "a"}, "text": "next", "list": ["next"]},
    {"included": [{"rel": "next", "href": "b"}] * 21},
    {"account": {"next_billing_date": "2026-01-01", "nextRenewal": "x"}},
]


def link_of(body: bytes, rows_at: str = "data") -> str | None:
    _, _, envelope = is_same_at_every_cut(body, schema=RAW_SCHEMA, rows_at=rows_at)
    link: str | None = envelope.next_link
    return link


@pytest.mark.parametrize(("members", "named"), NAMED)
def test_a_further_page_is_noticed_wherever_it_is_named(
    members: dict[str, Any], named: str
) -> None:
    rows = {"data": [{"id": "a"}]}
    assert link_of(json.dumps({**rows, **members}).encode()) == named
    assert link_of(json.dumps({**members, **rows}).encode()) == named
    inner = json.dumps({"d": {**rows, **members}}).encode()
    if "next_cursor" not in members:
        assert link_of(inner, "d.data") == f"d.{named}"


@pytest.mark.parametrize("members", NONE)
def test_what_is_empty_names_no_further_page(members: dict[str, Any]) -> None:
    assert link_of(json.dumps({"data": [{"next": "x"}], **members}).encode()) is None


def test_a_raw_body_of_the_usual_path_is_a_vendors_too() -> None:
    body = b'{"result":[{"a":1}],"links":{"next":"x"}}'
    assert decode(body, schema=RAW_SCHEMA)[1].next_link == "links.next"
    assert decode(body)[1].next_link is None


def test_a_member_that_is_too_long_to_be_searched_names_none_but_by_its_key() -> None:
    long = b"x" * (1 << 20)
    body = b'{"data":[],"a":{"next":"%b"}}' % long
    assert decode(body, schema=RAW_SCHEMA, rows_at="data")[1].next_link is None
    body = b'{"data":[],"next":{"a":"%b"}}' % long
    assert decode(body, schema=RAW_SCHEMA, rows_at="data")[1].next_link == "next"
