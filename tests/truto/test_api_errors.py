"""What an answer means: its fault, its advice, one line, and the token nowhere in it."""

from __future__ import annotations

import asyncio
import json
import traceback
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlic.errors import (
    AccountBlocked,
    AccountNeedsReauth,
    ApiError,
    AuthenticationError,
    Fault,
    RateLimited,
    StreamlicError,
)
from streamlic.truto.api_errors import api_error, one_line
from tests.support.raw_server import ACCOUNT, TOKEN, body_of, connection, server, whole

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OWN = {"statusCode": 0, "error": "Error", "message": ""}
"""An error in Truto's own form."""
REMOTE = {**OWN, "truto_is_remote_error": True}
BLOCKED = {**OWN, "message": "The account is Blocked"}
LIMIT = {**OWN, "truto_error_insight": {"rate_limit_error": {"value": True}}}
SCOPES = {"forbidden_error": {"value": {"missing_scopes": ["licenses.read"]}}}


def error_of(status: int, body: dict[str, Any] | bytes, **headers: str) -> ApiError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    error = api_error(status, named, raw, account=ACCOUNT, token=TOKEN, now=NOW)
    assert TOKEN not in str(error) + error.message + json.dumps(error.insight, ensure_ascii=False)
    assert str(error).isprintable(), "one line, and nothing that a terminal would obey"
    assert len(str(error)) < 1200
    return error


@pytest.mark.parametrize(
    ("status", "body", "kind", "fault", "is_retryable"),
    [
        (400, OWN, ApiError, Fault.REQUEST, False),
        (400, REMOTE, ApiError, Fault.VENDOR, False),
        (401, OWN, AuthenticationError, Fault.REQUEST, False),
        (401, {}, AuthenticationError, Fault.REQUEST, False),
        (401, b"<html>Sign in", AuthenticationError, Fault.REQUEST, False),
        (401, REMOTE, AccountNeedsReauth, Fault.VENDOR, False),
        (403, OWN, ApiError, Fault.REQUEST, False),
        (404, OWN, ApiError, Fault.REQUEST, False),
        (408, OWN, ApiError, Fault.REQUEST, True),
        (409, REMOTE, ApiError, Fault.VENDOR, False),
        (422, {"truto_is_remote_error": True}, ApiError, Fault.VENDOR, False),
        (425, OWN, ApiError, Fault.REQUEST, True),
        (429, OWN, RateLimited, Fault.REQUEST, True),
        (429, {}, RateLimited, Fault.UNKNOWN, True),
        (429, REMOTE, RateLimited, Fault.VENDOR, True),
        (500, OWN, ApiError, Fault.TRUTO, True),
        (500, REMOTE, ApiError, Fault.VENDOR, True),
        (501, OWN, ApiError, Fault.TRUTO, False),
        (502, OWN, ApiError, Fault.TRUTO, True),
        (503, OWN, ApiError, Fault.TRUTO, True),
        (503, BLOCKED, AccountBlocked, Fault.TRUTO, False),
        (503, {**OWN, "truto_error_insight": {"x": {"description": "Blocked account"}}},
         AccountBlocked, Fault.TRUTO, False),
        (503, {**BLOCKED, **REMOTE}, ApiError, Fault.VENDOR, True),
        (503, {**OWN, "message": "blocked by a firewall"}, ApiError, Fault.TRUTO, True),
        (503, {**OWN, "message": "the account's requests are blocked"}, ApiError, Fault.TRUTO,
         True),
        (503, {"message": "The account is blocked"}, ApiError, Fault.UNKNOWN, True),
        (503, b"<html>Your account is blocked", ApiError, Fault.UNKNOWN, True),
        (502, BLOCKED, ApiError, Fault.TRUTO, True),
        (504, OWN, ApiError, Fault.TRUTO, True),
        (522, OWN, ApiError, Fault.TRUTO, True),
        (799, OWN, ApiError, Fault.TRUTO, True),
        *((status, b"error code: 1016", ApiError, Fault.UNKNOWN, True)
          for status in (103, 201, 204, 206, 300, 400, 403, 409, 410, 451, 501, 520, 530, 799)),
        (403, b"<html>Attention Required!</html>", ApiError, Fault.UNKNOWN, True),
        (404, b"default backend - 404", ApiError, Fault.UNKNOWN, True),
        (404, b"", ApiError, Fault.UNKNOWN, True),
        (404, b"[1]", ApiError, Fault.UNKNOWN, True),
        (404, {"message": "no Route matched with those values"}, ApiError, Fault.UNKNOWN, True),
        (403, {"statusCode": "403", "message": "x"}, ApiError, Fault.UNKNOWN, True),
    ],
)  # fmt: skip
def test_each_status_has_its_kind_and_fault_and_says_whether_to_retry(
    status: int,
    body: dict[str, Any] | bytes,
    kind: type[ApiError],
    fault: Fault,
    is_retryable: bool,
) -> None:
    error = error_of(status, body)
    assert (type(error), error.fault, error.retryable) == (kind, fault, is_retryable)
    assert error.status == status
    assert str(error).startswith(f"HTTP {status}")


@pytest.mark.parametrize("token", ["t", "statusCode", "rror"])
def test_trutos_own_names_are_read_though_they_contain_the_token(token: str) -> None:
    body = {**LIMIT, "statusCode": 403, "message": f"no {token}", f"x{token}": token}
    error = api_error(403, {}, json.dumps(body).encode(), account="", token=token, now=NOW)
    assert (type(error), error.message) == (RateLimited, "no ***")
    body = {**OWN, "statusCode": 403}
    error = api_error(403, {}, json.dumps(body).encode(), account="", token=token, now=NOW)
    assert (error.retryable, error.fault) == (False, Fault.REQUEST)


def test_the_vendors_own_words_replace_an_empty_message() -> None:
    body = {**REMOTE, "message": "", "error": "Conflict", "raw_response": {"code": "SKU_LOCKED"}}
    assert error_of(409, body).message == '{"code": "SKU_LOCKED"}'
    assert error_of(409, {**body, "truto_is_remote_error": False}).message == "Conflict"


def test_a_body_that_is_not_an_envelope_is_quoted_in_short() -> None:
    error = error_of(502, b"<html>\r\n<b>Bad \x1b[31m gateway</b>\xff" + b"x" * 60_000)
    assert "<html> <b>Bad [31m gateway</b>" in str(error)
    assert len(error.message) == 300
    assert error_of(500, b"[1]").message == "[1]"
    assert error_of(500, b"[" * 60_000).message.startswith("[[[")


def test_the_server_says_how_long_to_wait() -> None:
    assert error_of(503, {}, retry_after="7").retry_after_seconds == 7
    assert error_of(429, {}, retry_after="7", ratelimit_reset="9").retry_after_seconds == 7
    assert error_of(429, {}, ratelimit_reset="9").retry_after_seconds == 9


@pytest.mark.parametrize(
    ("status", "body", "headers", "seconds"),
    [
        (400, LIMIT, {}, None),
        (401, LIMIT, {"retry-after": "7"}, 7),
        (500, LIMIT, {"ratelimit-reset": "7"}, 7),
        (403, OWN, {"retry-after": "7"}, 7),
        (429, {**OWN, "truto_error_insight": SCOPES}, {"retry-after": "7"}, 7),
        (403, b"<html>", {"retry-after": "7"}, 7),
        (420, OWN, {"retry-after": "7"}, 7),
        (503, REMOTE, {"retry-after": "86400"}, 300),
        (403, REMOTE, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "7"}, 7),
        (403, REMOTE, {"ratelimit-remaining": "0"}, None),
    ],
)
def test_vendors_report_a_rate_limit_with_many_statuses(
    status: int, body: dict[str, Any] | bytes, headers: dict[str, str], seconds: float | None
) -> None:
    error = error_of(status, body, **{name.replace("-", "_"): headers[name] for name in headers})
    assert type(error) is RateLimited
    assert error.retryable
    assert error.retry_after_seconds == seconds


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (400, OWN, {"retry_after": "7"}),
        (401, OWN, {"retry_after": "7"}),
        (404, OWN, {"retry_after": "7"}),
        (403, OWN, {"retry_after": "99999999"}),
        (403, OWN, {"ratelimit_remaining": "3", "ratelimit_reset": "7"}),
        (403, {**OWN, "truto_error_insight": SCOPES}, {"ratelimit_remaining": "0"}),
        (403, {**OWN, "truto_error_insight": SCOPES}, {"retry_after": "7"}),
        (403, {**REMOTE, "truto_error_insight": SCOPES}, {"retry_after": "7"}),
        (403, {**OWN, "truto_error_insight": {**SCOPES, "rate_limit_error": True}}, {}),
        (503, {**OWN, "truto_error_insight": SCOPES}, {"retry_after": "7"}),
        (403, {**OWN, "truto_error_insight": {"rate_limit_error": {"value": False}}}, {}),
        (409, OWN, {"ratelimit_remaining": "0", "ratelimit_reset": "7"}),
        (503, BLOCKED, {"retry_after": "7"}),
    ],
)
def test_other_refusals_are_not_a_rate_limit(
    status: int, body: dict[str, Any], headers: dict[str, str]
) -> None:
    error = error_of(status, body, **headers)
    assert type(error) is not RateLimited
    assert not error.retryable


@pytest.mark.parametrize(
    "text",
    [
        "a\nb",
        "\x1b]0;title\x07",
        "\u202etxt.exe",
        "a\u2028b",
        "lone \ud800",
        "x" * 5000,
        f"Bearer {TOKEN}",
        "x" * 295 + TOKEN,
    ],
)
def test_any_text_of_a_server_fits_one_line_without_the_token(text: str) -> None:
    """Anywhere in the body; as JSON escapes it, as PHP does, and as numbers."""
    missing = {"missing_required_query_parameters": {"value": [text, text]}}
    scopes = {"forbidden_error": {"value": {"missing_scopes": [text]}}, text: {"value": {text: 1}}}
    many = {f"{text}{i}": {"description": text} for i in range(500)}
    for insight in (missing, scopes, many, {}):
        body = {"message": text, "error": text, "truto_error_insight": insight}
        for escaped in (
            json.dumps(body),
            json.dumps(body).replace("/", "\\/"),
            json.dumps(body).replace("secret", "\\u0073ecret"),
        ):
            error = error_of(400, escaped.encode())
            str(error).encode()
    error_of(500, text.encode(errors="surrogatepass"))


@given(st.text(), st.integers(5, 50))
def test_one_line_is_one_printable_line_of_bounded_length(text: str, most: int) -> None:
    line = one_line(text, most=most)
    assert line.isprintable()
    assert len(line) <= most
    assert line == line.strip()


def test_insights_say_what_is_missing_and_which_parameter_gives_it() -> None:
    names = ["product", "organization_id", "workspace"]
    insight = {
        "missing_required_query_parameters": {"value": names},
        "conditionally_required_query_parameters": {"value": ["noise"]},
        "remote_error": {"description": "the vendor's disk is full"},
    }
    error = error_of(400, {"message": "x", "truto_error_insight": insight})
    text = str(error)
    assert "missing product, organization_id, workspace" in text
    assert error.parameter == "product"
    assert "the vendor's disk is full" in text
    assert "noise" not in text
    insight = {"missing_required_query_parameters": {"value": ["workspace"]}}
    assert error_of(400, {"truto_error_insight": insight}).parameter == "query"
    assert error_of(400, {"truto_error_insight": {}}).parameter is None


@pytest.mark.parametrize(
    "location",
    [
        "",
        "http://user@127.0.0.1:{port}/x",
        "http://user:password@127.0.0.1:{port}/x",
        "https://127.0.0.1:{port}/x",
        "http://127.0.0.1:1/x",
        "http://localhost:{port}/x",
        "//[",
        "http://127.0.0.1:{port}@example.com/",
        "ftp://127.0.0.1:{port}/",
        "mailto:a@b",
    ],
)
async def test_the_token_goes_nowhere_else_by_redirect(location: str) -> None:
    async def redirecting(writer: asyncio.StreamWriter) -> None:
        target = location.replace("{port}", str(writer.get_extra_info("sockname")[1]))
        writer.write(whole(b"", b"Location: " + target.encode(), status=b"302 Found"))

    async with server(redirecting) as (url, asked):
        async with connection(url) as asking:
            with pytest.raises(ApiError, match="the token goes to http:") as caught:
                await body_of(asking)
    assert len(asked) == 1
    assert caught.value.retryable, "a page to sign in at goes as it came"


@pytest.mark.parametrize(
    "answer",
    [
        whole(b"", b"Location: http://example.com/" + TOKEN.encode(), status=b"302 Found"),
        whole(TOKEN.encode(), status=b"500 " + TOKEN.encode()),
        whole(TOKEN.encode(), b"Content-Type: text/html"),
        whole(TOKEN.encode(), b"Content-Encoding: " + TOKEN.encode()),
        b"HTTP/1.1 " + TOKEN.encode() + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + TOKEN.encode() + b" : x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + TOKEN.encode() + b"\r\n",
    ],
)
async def test_a_token_that_the_server_repeats_is_not_shown(answer: bytes) -> None:
    """Nor in a traceback, which tells what led to the error too."""
    async with server(answer) as (url, _), connection(url) as asking:
        with pytest.raises(StreamlicError) as caught:
            await body_of(asking)
    assert TOKEN not in str(caught.value)
    assert TOKEN not in repr(caught.value)
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


async def test_the_cause_of_an_error_is_kept_where_it_does_not_show_the_token() -> None:
    async with server(b"nonsense\r\n\r\n") as (url, _), connection(url) as asking:
        with pytest.raises(StreamlicError) as caught:
            await body_of(asking)
    assert isinstance(caught.value.__cause__, aiohttp.ClientError)
