"""How bodies arrive: in bounded chunks, under backpressure, within their timeouts, or as errors."""

from __future__ import annotations

import asyncio
import gzip
import random
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from types import SimpleNamespace
from typing import Any

import brotli
import pytest
from backports import zstd

from streamlic.errors import ApiError, TransportError
from streamlic.truto.content_encoding import PIECE_BYTES, Decompressor, open_decompressor
from streamlic.truto.response import Page
from streamlic.truto.timeouts import ProgressWatch, Timeouts
from tests.support.raw_server import (
    BODY,
    OK,
    REQUEST,
    Answer,
    body_of,
    chunked,
    connection,
    server,
    whole,
)

LONG = BODY * 2000
RAW_DEFLATE = zlib.compress(LONG, wbits=-15)


async def failure_of(answer: Answer, **given: Any) -> TransportError:
    async with server(answer) as (url, _), connection(url, **given) as asking:
        with pytest.raises(TransportError) as caught:
            await body_of(asking)
    return caught.value


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"gzip", gzip.compress(LONG)),
        (b"deflate", zlib.compress(LONG)),
        (b"deflate", RAW_DEFLATE),
        (b"br", brotli.compress(LONG)),
        (b"zstd", zstd.compress(LONG)),
    ],
)
async def test_a_compressed_body_arrives_whole_or_not_at_all(coding: bytes, body: bytes) -> None:
    """A cut stream inside whole framing ends cleanly for HTTP; not for us, not even at 0 bytes."""
    header = b"Content-Encoding: " + coding
    async with server(whole(body, header)) as (url, _), connection(url) as asking:
        assert await body_of(asking) == LONG
        assert asking.bytes_received == len(body)
    for cut in (0, 1, len(body) // 2, len(body) - 1):
        assert "cut" in str(await failure_of(whole(body[:cut], header)))


async def reset(writer: asyncio.StreamWriter) -> None:
    writer.write(OK + b"Content-Length: 500\r\n\r\n" + BODY)
    await writer.drain()
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize(
    "answer",
    [
        reset,
        chunked(BODY)[:-8],
        chunked(BODY, is_ended=False) + b"zz\r\nno chunk\r\n",
        chunked(BODY, is_ended=False) + b"0\r\n",
        OK + b"Content-Length: nonsense\r\n\r\n" + BODY,
        OK + b"Content-Length: -5\r\n\r\n" + BODY,
        OK + b"X: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
    ids=["reset", "cut chunk", "bad chunk", "cut end", "no length", "bad length", "huge head",
         "cut head", "not HTTP"],
)  # fmt: skip
async def test_broken_http_is_a_transport_error_whatever_breaks(answer: Answer) -> None:
    error = await failure_of(answer)
    assert error.retryable
    assert len(str(error).splitlines()) == 1


async def test_chunks_are_bounded_and_backpressure_reaches_the_server() -> None:
    """Who takes no chunk is sent no more than what buffers hold, and can take its time."""
    total_bytes, sent_bytes = 64 << 20, 0

    async def large(writer: asyncio.StreamWriter) -> None:
        nonlocal sent_bytes
        writer.write(OK + b"Content-Length: %d\r\n\r\n" % total_bytes)
        while sent_bytes < total_bytes:
            writer.write(bytes(1 << 18))
            await writer.drain()
            sent_bytes += 1 << 18

    timeouts = Timeouts(silence_seconds=0.2, progress_bytes=1 << 20)
    async with server(large) as (url, _), connection(url, timeouts=timeouts) as asking:
        async with asking.page(REQUEST) as page:
            chunks = page.chunks()
            got = len(await anext(chunks))
            await asyncio.sleep(0.5)
            assert sent_bytes < total_bytes // 2
            async for chunk in chunks:
                assert len(chunk) <= PIECE_BYTES
                got += len(chunk)
    assert got == total_bytes


async def test_a_head_that_drips_times_out() -> None:
    async def dripping(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX: ")
        with suppress(ConnectionError):
            for _ in range(200):
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)

    timeouts = Timeouts(connect_seconds=0.2, silence_seconds=0.3)
    error = str(await failure_of(dripping, timeouts=timeouts))
    assert "no answer came in time: 0.5 s (silence_seconds" in error


async def test_the_server_that_never_answers_is_silent() -> None:
    async def silent(_: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1)

    error = await failure_of(silent, timeouts=Timeouts(silence_seconds=0.1))
    assert "fell silent" in str(error)


async def test_an_html_page_is_refused_and_quoted() -> None:
    html = b"<html>\n<h1>Sign in</h1>" + b" " * 100_000
    for coded, more in ((html, []), (gzip.compress(html), [b"Content-Encoding: gzip"])):
        error = await failure_of(whole(coded, b"Content-Type: text/html", *more))
        assert "got text/html" in str(error)
        assert str(error).endswith("It says: <html> <h1>Sign in</h1>")


async def test_an_error_is_reported_whatever_becomes_of_its_body() -> None:
    """Endless, dripping, silent, cut or corrupt: the status is what counts."""
    sent_bytes = 0
    head = b"HTTP/1.1 404 Not Found\r\n"

    async def endless(writer: asyncio.StreamWriter) -> None:
        nonlocal sent_bytes
        writer.write(head + b"Content-Length: 999999999999\r\n\r\n")
        while True:
            writer.write(bytes(1 << 16))
            await writer.drain()
            sent_bytes += 1 << 16

    async def dripping(writer: asyncio.StreamWriter) -> None:
        writer.write(head + b"Content-Length: 9999\r\n\r\n")
        for _ in range(200):
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.05)

    others: list[Answer] = [
        head + b"Content-Length: 99\r\n\r\n{",
        head + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n???",
        head + b"Content-Encoding: dcz\r\nContent-Length: 3\r\n\r\n???",
        head + b"\r\n",
    ]
    timeouts = Timeouts(silence_seconds=0.2)
    for answer in (endless, dripping, *others):
        async with server(answer) as (url, _), connection(url, timeouts=timeouts) as asking:
            with pytest.raises(ApiError, match="404 Not Found"):
                await asyncio.wait_for(body_of(asking), 5)
    assert sent_bytes < 32 << 20


def page_with(**headers: str) -> Page:
    async def read() -> bytes:
        return b""

    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return Page(given, read, ProgressWatch(1, 1), hide="secret")


@pytest.mark.parametrize("coding", ["", "gzip"])
@pytest.mark.parametrize(("drip", "is_alive"), [(b" ", True), (b"\r\n", True), (b"[", False)])
async def test_blanks_keep_a_body_alive_and_a_drip_of_content_does_not(
    monkeypatch: pytest.MonkeyPatch, coding: str, drip: bytes, is_alive: bool
) -> None:
    """A piece every minute, for an hour and a half, of a body that may be compressed."""
    stream = zlib.compressobj(wbits=31)

    def coded(data: bytes) -> bytes:
        return stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH) if coding else data

    wire = iter([*(coded(drip) for _ in range(90)), coded(BODY) + stream.flush() * bool(coding)])
    clock = count(step=60)
    monkeypatch.setattr(
        "streamlic.truto.response.time", SimpleNamespace(monotonic=lambda: next(clock))
    )

    async def read() -> bytes:
        return next(wire, b"")

    page = Page({"Content-Encoding": coding}, read, ProgressWatch(1024, 300), hide="secret")
    if is_alive:
        assert b"".join([chunk async for chunk in page.chunks()]) == 90 * drip + BODY
    else:
        with pytest.raises(TransportError, match=r"in 300 seconds of waiting \(silence_seconds\)"):
            await anext(chunk async for chunk in page.chunks() if chunk == BODY)


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/jsonl; charset=utf-8"])
def test_lines_need_framing(kind: str) -> None:
    assert page_with(Content_Type=kind).is_ndjson
    page_with(Content_Type=kind, Content_Length="5").check()
    page_with(Content_Type=kind, Transfer_Encoding="gzip, Chunked").check()
    for unframed in (
        page_with(Content_Type=kind),
        page_with(Content_Type=kind, Transfer_Encoding="gzip"),
    ):
        with pytest.raises(TransportError, match="framing"):
            unframed.check()
        unframed.check(ndjson=False)


@pytest.mark.parametrize("kind", ["application/json", "application/json-seq", "text/plain", ""])
def test_other_types_are_not_lines(kind: str) -> None:
    page = page_with(Content_Type=kind)
    assert not page.is_ndjson
    page.check()
    with pytest.raises(TransportError):
        page.check(ndjson=True)


@pytest.mark.parametrize(("coding", "size", "is_apart"), [
    ("gzip", 1 << 20, True),
    ("gzip", 1 << 10, False),  # It would take longer to start a thread.
    ("", 1 << 20, False),
])  # fmt: skip
async def test_a_large_compressed_body_is_undone_in_a_thread(
    monkeypatch: pytest.MonkeyPatch, coding: str, size: int, is_apart: bool
) -> None:
    """The event loop reads from the network meanwhile."""
    threads = set()
    body = random.Random(1).randbytes(size)
    wire = iter([gzip.compress(body) if coding else body])

    def noted(name: str) -> Decompressor:
        decompressor = open_decompressor(name)

        def feed(data: bytes) -> Iterator[bytes]:
            for piece in type(decompressor).feed(decompressor, data):
                threads.add(threading.current_thread())
                yield piece

        monkeypatch.setattr(decompressor, "feed", feed)
        return decompressor

    async def read() -> bytes:
        return next(wire, b"")

    monkeypatch.setattr("streamlic.truto.response.open_decompressor", noted)
    page = Page({"Content-Encoding": coding}, read, ProgressWatch(1, 1), hide="secret")
    assert b"".join([chunk async for chunk in page.chunks()]) == body
    assert (threading.main_thread() not in threads) is is_apart
