"""Pages over raw sockets: what is cut, silent, redirected or refused is never a short result."""

from __future__ import annotations

import asyncio
import gzip
import re
from pathlib import Path
from typing import Any

import pytest

from streamlic.decoder import open_decoder
from streamlic.errors import (
    ApiError,
    AuthenticationError,
    StreamlicError,
    TransportError,
    TruncatedBody,
    UsageError,
)
from streamlic.truto.client import Connection
from streamlic.truto.credentials import TokenSource
from streamlic.truto.retry import Failures, RetryPolicy
from streamlic.truto.timeouts import Timeouts
from tests.support.raw_server import (
    BODY,
    OK,
    PATIENT,
    REQUEST,
    TOKEN,
    Answer,
    body_of,
    chunked,
    connection,
    server,
    whole,
    with_retries,
)


async def rows(asking: Connection, retries: int = 1) -> int:
    """Read one page as the job does; return its rows."""
    async with asking:

        async def read() -> int:
            async with asking.page(REQUEST) as page:
                decoder = open_decoder(ndjson=page.is_ndjson)
                async for chunk in page.chunks():
                    decoder.feed(chunk)
                decoder.close()
                return decoder.envelope.rows

        return await with_retries(asking, read, attempts=retries)


async def error_of(*answers: Answer, **given: Any) -> StreamlicError:
    """Return the error that a single attempt ends with."""
    async with server(*answers) as (url, _), connection(url, **given) as asking:
        with pytest.raises(StreamlicError) as caught:
            async with asking.page(REQUEST) as page:
                decoder = open_decoder(ndjson=page.is_ndjson)
                async for chunk in page.chunks():
                    decoder.feed(chunk)
                decoder.close()
    assert TOKEN not in str(caught.value)
    return caught.value


async def test_a_request_carries_the_token_and_says_who_asks() -> None:
    async with server(chunked(BODY)) as (url, asked):
        assert await rows(connection(url + "/prefix/")) == 2
    assert asked[0].startswith(
        b"GET /prefix/unified/user-directory/licenses?integrated_account_id="
    )
    assert f"Authorization: Bearer {TOKEN}\r\n".encode() in asked[0]
    assert b"Accept-Encoding: zstd, gzip, deflate, br;q=0.5\r\n" in asked[0]
    assert b"User-Agent: streamlic/" in asked[0]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (chunked(BODY, is_ended=False), TransportError),
        (chunked(BODY[:-1]), TruncatedBody),
        (OK + b"Content-Length: 500\r\n\r\n" + BODY, TransportError),
        (OK + b"Connection: close\r\n\r\n" + BODY[:-1], TruncatedBody),
        (whole(gzip.compress(BODY)[:-6], b"Content-Encoding: gzip"), TransportError),
        (whole(gzip.compress(BODY[:-1]), b"Content-Encoding: gzip"), TruncatedBody),
        (whole(b"\x1f\x8b garbage", b"Content-Encoding: gzip"), TransportError),
        (whole(b""), TruncatedBody),
        (b"", TransportError),
        (b"nonsense\r\n\r\n", TransportError),
        (whole(b"<html>", b"Content-Type: text/html; charset=utf-8"), TransportError),
    ],
)
async def test_a_body_that_is_not_whole_is_a_failed_page(
    answer: bytes, kind: type[StreamlicError]
) -> None:
    error = await error_of(answer)
    assert type(error) is kind, error
    failures = Failures()
    failures.count(error, 0.0)
    assert RetryPolicy().wait_seconds(error, failures) is not None, "it is worth another attempt"


async def test_a_body_that_the_closing_ends_is_taken_if_its_json_is_whole() -> None:
    async with server(OK + b"Connection: close\r\n\r\n" + BODY) as (url, _):
        assert await rows(connection(url)) == 2


async def test_lines_are_taken_only_with_framing_of_their_own() -> None:
    lines = b'{"id":"a"}\n{"id":"b"}\n'
    kind = b"Content-Type: application/x-ndjson"
    async with server(whole(lines, kind)) as (url, _):
        assert await rows(connection(url)) == 2
    error = await error_of(b"HTTP/1.1 200 OK\r\n" + kind + b"\r\nConnection: close\r\n\r\n" + lines)
    assert "framing" in str(error)


async def test_chunks_arrive_before_the_body_ends() -> None:
    may_end = asyncio.Event()

    async def halting(writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY[:20])
        await writer.drain()
        await may_end.wait()
        writer.write(BODY[20:])

    async with server(halting) as (url, _), connection(url) as asking:
        async with asking.page(REQUEST) as page:
            chunks = page.chunks()
            assert await anext(chunks) == BODY[:20]
            may_end.set()
            assert b"".join([chunk async for chunk in chunks]) == BODY[20:]


async def test_silence_and_too_little_progress_end_a_page() -> None:
    async def silent(writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Content-Length: 500\r\n\r\n{")
        await writer.drain()
        await asyncio.sleep(5)

    async def dripping(writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Content-Length: 500\r\n\r\n")
        for _ in range(100):
            writer.write(b"[")
            await writer.drain()
            await asyncio.sleep(0.05)

    error = await error_of(silent, timeouts=Timeouts(silence_seconds=0.2))
    assert "fell silent for 0.2 s (silence_seconds" in str(error)
    error = await error_of(dripping, timeouts=Timeouts(silence_seconds=0.3))
    assert re.search("only .* bytes came in .*silence_seconds", str(error))


async def test_a_slow_consumer_does_not_count_as_lack_of_progress() -> None:
    async with server(chunked(BODY)) as (url, _):
        timeouts = Timeouts(progress_bytes=1 << 20, silence_seconds=0.2)
        async with connection(url, timeouts=timeouts) as asking:
            async with asking.page(REQUEST) as page:
                async for _ in page.chunks():
                    await asyncio.sleep(0.3)


async def test_a_failed_page_is_asked_for_again() -> None:
    answers = [b"", whole(b"{}", status=b"502 Bad Gateway"), chunked(BODY[:-1]), chunked(BODY)]
    async with server(*answers) as (url, asked):
        asking = connection(url, retry=PATIENT)
        assert await rows(asking, retries=9) == 2
        assert len(asked) == 4
        assert asking.retries in (2, 3), "aiohttp itself asks again where no byte came"


async def test_attempts_come_to_an_end() -> None:
    async with server(whole(b"{}", status=b"502 Bad Gateway")) as (url, asked):
        with pytest.raises(
            ApiError, match=r"502 Bad Gateway.*4 attempts in 0 s.*retry_for_seconds"
        ):
            await rows(connection(url), retries=99)
        assert len(asked) == 4


async def test_a_page_that_fails_for_long_is_asked_for_while_time_is_left() -> None:
    bad = whole(b"{}", status=b"502 Bad Gateway")
    async with server(*[bad] * 40, whole(BODY)) as (url, asked):
        assert await rows(connection(url, retry=PATIENT), retries=99) == 2
    assert len(asked) == 41


async def test_after_a_401_the_token_is_read_again_once(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old-token\n")
    source = TokenSource.from_file(file)
    denied = whole(b'{"statusCode":401,"message":"expired"}', status=b"401 Unauthorized")
    async with server(denied, chunked(BODY)) as (url, asked):
        asking = connection(url, source)
        file.write_text("new-token\n")
        assert await rows(asking) == 2
        assert b"Bearer old-token" in asked[0]
        assert b"Bearer new-token" in asked[1]
        assert asking.retries == 0
    async with server(denied) as (url, asked):
        with pytest.raises(AuthenticationError):
            await rows(connection(url, source, timeouts=Timeouts(token_seconds=0)))
        assert len(asked) == 1, "the same token is not tried again"


async def test_redirects_are_followed_within_the_origin_only() -> None:
    def redirect(target: str) -> bytes:
        return whole(b"", b"Location: " + target.encode(), status=b"307 Temporary Redirect")

    async with server(redirect("/elsewhere?x=1"), chunked(BODY)) as (url, asked):
        assert await rows(connection(url)) == 2
        assert asked[1].startswith(b"GET /elsewhere?x=1 ")
    async with server(chunked(BODY)) as (other, asked_there):
        for target in (other + "/x", "https://example.com/", "", "//example.com/x"):
            error = await error_of(redirect(target))
            assert "the token goes to" in str(error)
        assert asked_there == []
    async with server(redirect("/again")) as (url, asked), connection(url) as asking:
        with pytest.raises(ApiError, match="5 redirects at most"):
            await body_of(asking)
        assert len(asked) == 6


async def test_nobody_listening_is_a_transport_error() -> None:
    async with connection("http://127.0.0.1:9") as asking:
        with pytest.raises(TransportError, match="could not be reached"):
            async with asking.page(REQUEST):
                pass


@pytest.mark.parametrize("host", ["a.b.", "exämple.com", "a" * 63 + ".com", "[2001:db8::1]", "a_b"])
def test_hosts_of_all_kinds_are_taken(host: str) -> None:
    connection(f"https://{host}")


@pytest.mark.parametrize("url", ["http://127.0.0.1", "http://[::1]:80", "http://localhost:1"])
def test_plain_http_is_for_loopback(url: str) -> None:
    connection(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "ftp://127.0.0.1",
        "https://",
        "",
        "https://h?x",
        "http://127.0.0.1:0",
        "https://a..b",
        "https://.example.com",
        f"https://{'a' * 64}.example.com",
        "https://ä..b",
        "https://a\udcff.b",
        "https://a.b/\udcff",
        "https://xn--a.b",
    ],
)
def test_other_base_urls_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match=r"base_url|allow_http"):
        connection(url)


def test_a_token_is_seen_nowhere_and_must_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert TOKEN not in repr(TokenSource.from_value(TOKEN))
    monkeypatch.setenv("TRUTO_API_TOKEN", " spaced \n")
    assert TokenSource.from_environment().read() == "spaced"
    for bad in ("", "a b", "a\nb", "é"):
        with pytest.raises(UsageError):
            TokenSource.from_value(bad).read()


async def test_leaving_a_page_early_closes_it() -> None:
    left = asyncio.Event()

    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Content-Length: 1000000000000\r\n\r\n")
        try:
            while True:
                writer.write(b" " * 65536)
                await writer.drain()
        except ConnectionError:
            left.set()

    async with server(endless) as (url, _), connection(url) as asking:
        async with asking.page(REQUEST) as page:
            await anext(page.chunks())
        await asyncio.wait_for(left.wait(), 5)
