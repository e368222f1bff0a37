"""Errors say what came instead of JSON, and show nothing that is secret; the same at every cut."""

from __future__ import annotations

from typing import Any

import pytest

from streamlic.decoder.messages.findings import with_finding
from tests.support.oracle import outcome

R = b'{"result":['


def reason_of(body: bytes, **options: Any) -> str:
    whole = outcome(body, **options)
    for cut in range(len(body)):
        assert outcome(body, [cut], **options) == whole
    assert outcome(body, list(range(1, len(body))), **options) == whole
    return str(whole[3])


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'[{"a":NaN}]', "NaN"),
        (b'[{"a":[1,Infinity]}]', "Infinity"),
        (b'[{"a":-Infinity}]', "Infinity"),
        ('{"result":[]}'.encode("utf-16"), "UTF-16"),
        ('{"result":[]}'.encode("utf-16-be"), "UTF-16"),
        ('{"result":[]}'.encode("utf-16-le"), "UTF-16"),
        ('{"result":[]}'.encode("utf-32-be"), "UTF-32"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"\n<!doctype html>", "HTML"),
        (b'data: {"id":1}\n', "server-sent event"),
        (b"event: x\n", "server-sent event"),
        (b")]}'\n[]", ")]}'"),
    ],
)
def test_what_came_is_named(body: bytes, name: str) -> None:
    assert name in reason_of(body)


def test_a_server_sent_event_is_named_among_lines_too() -> None:
    assert "server-sent event" in reason_of(b'{"id":1}\ndata: {"id":2}\n', ndjson=True)


@pytest.mark.parametrize(
    ("body", "quote"),
    [
        (R + b'{"id":"a","name":x}]}', 'got x, in {"id":"a","name":x'),
        (R + b'{"id":"a"},{"id":"b" "c"}]}', 'got ", in {"id":"b" "'),
        (R + b'{"id":"' + b"some words " * 30 + b'\x01"}]}', "0x01, in ...ords some words some"),
        (b'{"x":{"a":nul}}', 'got }, in {"a":nul}'),
        (b'{"x":1 2}', "expected , or }, got 2"),
        (R + '{"é":"ü",é}]}'.encode(), 'got byte 0xC3, in {"é":"ü",'),
    ],
)
def test_the_bytes_that_lead_there_are_quoted(body: bytes, quote: str) -> None:
    reason = reason_of(body)
    assert quote in reason
    assert len(reason.partition(", in ")[2]) <= 40


@pytest.mark.parametrize(
    "secret",
    [
        b'"access_token":"s3cret"',
        b'"X-Api-Key" : "words, s3cret with words"',
        b'"password":"s3cret',
        b'"h":"Authorization: Bearer s3cret"',
        b'"h":"Basic s3cret"',
        b'"h":"s3cret' + b"0123456789abcdef" * 3 + b'"',
        b'"h":"' + b"eyJhbGciOi" * 9 + b"." + b"s3cret" * 9 + b'"',
    ],
)
def test_nothing_that_looks_like_a_secret_is_quoted(secret: bytes) -> None:
    for bad in (b',"a":x}]}', b"x}]}", b"\x01}]}"):
        reason = reason_of(R + b"{" + secret + bad)
        assert "s3cret" not in reason
        assert ", in " not in reason or "***" in reason


def test_a_reason_that_says_what_came_stays_as_it_is() -> None:
    said = "expected rows at result, got an envelope with the keys: x,"
    assert with_finding(said, b"}", ndjson=False) == said
