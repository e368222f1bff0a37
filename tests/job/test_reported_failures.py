"""A body with status 200 that reports a failure is that failure: retried, paced, reported."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import streamlic
from streamlic.errors import (
    AccountNeedsReauth,
    ApiError,
    Fault,
    RateLimited,
    ReportedFailure,
    StreamlicError,
    UsageError,
)
from streamlic.job.convert import convert_async
from streamlic.job.export import export_async
from streamlic.job.options import JobOptions
from streamlic.truto.api_errors import reported_failure
from streamlic.truto.client import Connection
from streamlic.truto.credentials import TokenSource
from streamlic.truto.response import Page
from streamlic.truto.retry import RetryPolicy
from streamlic.truto.settings import ConnectionSettings
from streamlic.truto.timeouts import ProgressWatch
from tests.support.cli import landed, run_cli
from tests.support.raw_server import ACCOUNT, BODY, TOKEN, server, whole
from tests.support.server_thread import in_a_thread

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LINES = b"Content-Type: application/x-ndjson"
ROWS = b'{"id":"a"}\n{"id":"b"}\n'


def translated(members: dict[str, Any], **headers: str) -> ApiError:
    failure = ReportedFailure("it failed", position=1, members=members)
    return reported_failure(failure, headers, account=ACCOUNT, token=TOKEN, now=NOW)


def test_a_report_becomes_the_error_that_its_status_means() -> None:
    limited = translated(
        {"statusCode": 429, "error": "x", "message": "slow"}, **{"retry-after": "7"}
    )
    assert type(limited) is RateLimited
    assert (limited.retryable, limited.retry_after_seconds) == (True, 7.0)
    assert str(limited).startswith(f"HTTP 429 Too Many Requests for account {ACCOUNT}: slow")
    assert str(limited).endswith("reported in a complete body")
    refused = translated({"statusCode": 401, "error": "x"})
    assert (type(refused), refused.status, refused.retryable) == (ApiError, 401, True)
    remote = {"statusCode": 401.0, "truto_is_remote_error": True, "message": TOKEN}
    reauth = translated(remote)
    assert type(reauth) is AccountNeedsReauth
    assert (reauth.fault, reauth.message) == (Fault.VENDOR, "***")
    forbidden = translated(
        {"statusCode": 403, "error": "Forbidden", "truto_error_insight": {"a": 1}}
    )
    assert (forbidden.status, forbidden.retryable, forbidden.insight) == (403, False, {"a": 1})


def test_an_error_of_spring_has_its_status_and_may_pass() -> None:
    """A gateway, the vendor or Truto may have sent it."""
    said = {"error": "Internal Server Error", "path": "/p", "timestamp": "2026-01-01T00:00:00Z"}
    error = translated({"status": 500, **said})
    assert (error.status, error.message, error.retryable) == (500, said["error"], True)
    assert error.fault is Fault.UNKNOWN
    assert type(translated({"status": 429, **said})) is RateLimited


@pytest.mark.parametrize("status", [None, "429", 200, 400.5, 600, 1e300, float("inf"), True, [429]])
def test_a_report_without_a_status_that_is_one_is_a_502(status: Any) -> None:
    error = translated({"statusCode": status, "errors": [{"message": "part 2 failed"}]})
    assert (error.status, error.retryable) == (502, True)
    assert "part 2 failed" in error.message


def connection(url: str) -> Connection:
    return Connection(
        ConnectionSettings(
            token=TokenSource.from_value(TOKEN),
            base_url=url,
            rate_limit=None,
            retry=RetryPolicy(retry_for_seconds=0, backoff_seconds=0.001),
        )
    )


async def exported(dest: Path, url: str, **options: Any) -> streamlic.Summary:
    form = "raw" if options.get("raw") else "stream"
    request = streamlic.LicensesRequest(account=ACCOUNT, response_format=form)
    job = JobOptions(account_details=False, **options)
    return await export_async(str(dest), [request], connection(url), job)


BODIES: dict[str, tuple[bytes, tuple[bytes, ...]]] = {
    "members": (b'{"result":[{"id":"a"}],"statusCode":%d,"error":"x","message":"m"}', ()),
    "alone": (b'{"statusCode":%d,"error":"x","message":"m"}', ()),
    "record": (b'[{"id":"a"},{"statusCode":%d,"error":"x","message":"m"}]', ()),
    "line": (ROWS + b'{"statusCode":%d,"error":"x","message":"m"}\n', (LINES,)),
    "lines": (b'{"statusCode":%d,"error":"x","message":"m"}', (LINES,)),
    "text": (b'{"result":[{"id":"a"},{"statusCode":"%d","error":"x","message":"m"}]}', ()),
    "large": (
        b'{"result":[%b],"statusCode":%%d,"error":"x","message":"m"}'
        % b",".join([b'{"id":"a"}'] * 40_000),
        (),
    ),
}


@pytest.mark.parametrize("shape", BODIES)
async def test_a_reported_failure_is_retried_by_its_status_and_nothing_of_it_lands(
    tmp_path: Path, shape: str
) -> None:
    body, headers = BODIES[shape]
    async with server(whole(body % 502, *headers), whole(BODY)) as (url, asked):
        summary = await exported(tmp_path / "passes", url)
    assert (summary.rows, summary.retries, len(asked)) == (2, 1, 2)
    assert [row["id"] for row in landed(tmp_path / "passes")] == ["a", "b"]
    async with server(whole(body % 403, *headers)) as (url, asked):
        with pytest.raises(ApiError, match=r"HTTP 403 Forbidden.*: m") as raised:
            await exported(tmp_path / "stays", url)
    assert (type(raised.value), len(asked)) == (ApiError, 1)
    assert not list((tmp_path / "stays").glob("licenses/*.parquet"))


async def test_a_reported_rate_limit_makes_the_account_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b'{"statusCode":429,"error":"x","truto_is_remote_error":true}'
    async with server(whole(body, b"Retry-After: 77")) as (url, _):
        one = connection(url)
        request = streamlic.LicensesRequest(account=ACCOUNT)
        waits: list[float] = []

        def penalize(_account: str, seconds: float, _now: float, **_: Any) -> None:
            waits.append(seconds)

        monkeypatch.setattr(one.rate_limiter, "penalize", penalize)
        monkeypatch.setattr(RetryPolicy, "wait_seconds", lambda *_: None)  # No waiting in a test.
        with pytest.raises(RateLimited):
            await export_async(str(tmp_path), [request], one, JobOptions(account_details=False))
    assert waits == [77.0]


async def test_only_a_429_makes_other_accounts_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 503 with Retry-After is its account's, however long it asks to wait."""
    answers = [
        b"HTTP/1.1 %b X\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n" % status
        for status in (b"503", b"403", b"429")
    ]
    async with server(*answers) as (url, _):
        one = connection(url)
        waits: list[bool] = []

        def penalize(*_: Any, is_accounts: bool) -> None:
            waits.append(is_accounts)

        monkeypatch.setattr(one.rate_limiter, "penalize", penalize)
        request = streamlic.LicensesRequest(account=ACCOUNT)
        async with one:
            for _ in answers:
                with pytest.raises(RateLimited):
                    async with one.page(request):
                        pass
    assert waits == [True, True, False]


async def test_the_client_and_the_reader_translate_it_too() -> None:
    bad = whole(b'{"result":[{"id":"a"}],"errors":["no"]}')
    async with (
        server(bad, whole(BODY)) as (url, _),
        streamlic.Client(
            streamlic.ConnectionSettings(
                token=TOKEN, base_url=url, retry=RetryPolicy(backoff_seconds=0.001)
            )
        ) as client,
    ):
        rows = [row async for batch in client.licenses(ACCOUNT) for row in batch["id"].to_pylist()]
    assert rows == ["a", "b"]
    async with (
        server(whole(b'{"statusCode":404,"error":"x"}')) as (url, asked),
        streamlic.Client(streamlic.ConnectionSettings(token=TOKEN, base_url=url)) as client,
    ):
        with pytest.raises(ApiError, match="404"):
            [batch async for batch in client.licenses(ACCOUNT)]
    assert len(asked) == 1


LINE = {"ndjson": True}
RAW = {"raw": True, "rows_at": "d"}
BY_ID = {"key_by": "id"}


async def converted(dest: Path, body: bytes, engine: str, options: dict[str, Any]) -> Any:
    job = {name: value for name, value in options.items() if name != "key_by"}
    return await convert_async(
        io.BytesIO(body),
        str(dest),
        key_by=options.get("key_by"),
        options=JobOptions(engine=engine, **job),
    )


@pytest.mark.parametrize(
    ("body", "options", "code", "says"),
    [
        (b'{"statusCode":429,"error":"x","message":"slow down"}', {}, 1, "429.*slow down"),
        (b'{"statusCode":401,"error":"x"}', {}, 1, "HTTP 401"),
        (b'{"result":[{"id":"a"}],"success":false}', {}, 1, "HTTP 502"),
        (ROWS + b'{"statusCode":500,"error":"boom"}', LINE, 1, "500.*boom"),
        (b'{"result":{"statusCode":429,"error":"x","message":"slow"}}', BY_ID, 1, "429.*slow"),
        (b'{"result":[{"error":"x","message":"boom"}]}', {}, 1, "HTTP 502.*boom"),
        (ROWS + b'{"success":false,"message":"no"}', LINE, 1, "HTTP 502.*no"),
        (b'{"result":{"id":"a"}}', {}, 5, "key_by"),
        (b'{"value":[]}', {}, 5, "keys: value"),
        (b'[{"id":"a"}]', LINE, 5, "got an array"),
        (b'{"id":"a"}\n{"result_count":2}\n', LINE, 5, "expected 2 rows"),
    ],
)
@pytest.mark.parametrize("engine", ["fast", "reference"])
async def test_a_converted_body_ends_as_what_it_says(
    tmp_path: Path, body: bytes, options: dict[str, Any], code: int, says: str, *, engine: str
) -> None:
    with pytest.raises(StreamlicError, match=says) as raised:
        await converted(tmp_path, body, engine, options)
    assert raised.value.exit_code == code
    assert not list(tmp_path.glob("licenses/*.parquet"))


@pytest.mark.parametrize(
    ("body", "options", "rows", "is_partial"),
    [
        (b'{"result":null}', {}, [], False),
        (b'{"result":[{"id":"a"}],"next_cursor":"p2"}\n', LINE, ["a"], True),
        (b'{"result":{"a":{},"b":5}}', BY_ID, ["a", "b"], False),
        (b'{"d":{"a":{},"b":5}}', RAW, ["a", "b"], False),
        (b'{"d":[1],"nextPage":0}', RAW, [None], False),
        (b'{"d":[1],"paging":{"next":1}}', RAW, [None], True),
    ],
)
@pytest.mark.parametrize("engine", ["fast", "reference"])
async def test_converted_rows_have_their_keys(
    tmp_path: Path,
    body: bytes,
    options: dict[str, Any],
    rows: list[str | None],
    engine: str,
    *,
    is_partial: bool,
) -> None:
    summary = await converted(tmp_path, body, engine, options)
    assert (summary.rows, summary.accounts[0].partial_response) == (len(rows), is_partial)
    if rows:
        column = "key" if options is RAW else "id"
        assert [row[column] for row in landed(tmp_path, None)] == rows


async def test_convert_puts_the_keys_of_rows_into_the_field_of_key_by(tmp_path: Path) -> None:
    body = tmp_path / "a.json"
    body.write_bytes(b'{"result":{"a":{},"b":{"id":"c"}}}')
    args = ["convert", str(body), str(tmp_path / "out"), "--key-by", "id", "--quiet"]
    assert (await run_cli(*args)).code == 0
    assert [row["id"] for row in landed(tmp_path / "out")] == ["a", "c"]
    refused = await run_cli(*args, "--raw")
    assert refused.code == 2
    assert "--key-by excludes --raw" in refused.err


LINKS: list[tuple[bytes, bool]] = [
    (b'Link: <https://x/?page=2>; rel="next"', True),
    (b"link: <https://x/?a=1,2>; title=a; rel=next", True),
    (b'Link: <https://x/1>; rel="prev", <https://x/2>; REL="last Next"', True),
    (b'Link: <https://x/1>; rel="prev"\r\nLink: <https://x/3>; rel="next"', True),
    (b'Link: <https://x/?rel=next>; rel="first"', False),
    (b'Link: <https://x/>; title="next"', False),
    (b"Link:", False),
]


@pytest.mark.parametrize(("header", "is_further"), LINKS)
async def test_a_link_header_names_a_further_page_of_a_raw_body(
    tmp_path: Path, header: bytes, *, is_further: bool
) -> None:
    async with server(whole(b'{"result":[{"a":1}]}', header)) as (url, _):
        raw = await exported(tmp_path / "raw", url, raw=True)
        own = await exported(tmp_path / "own", url)
    assert [one.partial_response for one in raw.accounts] == [is_further]
    assert [one.partial_response for one in own.accounts] == [False]


async def test_an_export_tells_the_decoder_by_what_its_rows_are_keyed(tmp_path: Path) -> None:
    async with server(whole(b'{"result":{"a":{"name":"n"},"b":null}}')) as (url, _):
        request = streamlic.LicensesRequest(account=ACCOUNT, key_by="id")
        summary = await export_async(str(tmp_path), [request], connection(url))
    assert (summary.rows, summary.rescued) == (2, 1)
    assert [row["id"] for row in landed(tmp_path)] == ["a", "b"]


def test_read_licenses_tells_it_too() -> None:
    body = b'{"result":{"a":{},"b":{"id":"c"}}}'
    with (
        in_a_thread(lambda: server(whole(body))) as (url, _),
        streamlic.read_licenses(
            ACCOUNT, connection=streamlic.ConnectionSettings(token=TOKEN, base_url=url), key_by="id"
        ) as reader,
    ):
        assert reader.read_all()["id"].to_pylist() == ["a", "c"]


def test_a_page_without_such_a_header_names_none() -> None:
    async def read() -> bytes:
        return b""

    assert not Page({}, read, ProgressWatch(1, 1.0), hide=TOKEN).has_next_link


def test_a_key_that_is_none_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="key_by"):
        JobOptions().open_decoder(key_by="")
