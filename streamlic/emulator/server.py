"""Sends what ``answers`` plans: the emulator's only I/O."""

from __future__ import annotations

import asyncio
import signal
import time
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import parse_qsl

import brotli
from aiohttp import web

from streamlic.emulator.answers import Answer, Asked, EmulatorConfig, answer, rate_limited
from streamlic.errors import UsageError

_WINDOW_SECONDS = 10.0
_TOKEN_REQUESTS = 500
_ACCOUNT_REQUESTS = 50
_LOGGED_REQUESTS = 10_000
_WRITE_BYTES = 256 * 1024


class Emulator:
    """A Truto that answers. ``requests`` are the last 10,000 asked, without their tokens."""

    def __init__(self, config: EmulatorConfig) -> None:
        self.config = config
        self.url = ""
        self.requests: deque[Asked] = deque(maxlen=_LOGGED_REQUESTS)
        self._windows: dict[str, deque[float]] = {}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        query = parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True)
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Asked(request.method, request.path, query, headers)
        shown = {k: v for k, v in headers.items() if k != "authorization"}
        self.requests.append(Asked(asked.method, asked.path, query, shown))
        wait, limits = self._count(asked) if self.config.rate_limits else (0, {})
        if self.config.latency_ms:
            await asyncio.sleep(self.config.latency_ms / 1000)
        planned = rate_limited(wait) if wait else answer(self.config, asked)
        return await _send(request, planned, limits, compress=self.config.compress)

    def _count(self, asked: Asked) -> tuple[int, dict[str, str]]:
        """Count a request in both tiers; return the seconds to wait, 0 for none, and headers.

        They tell of the tier that is used up, or else of the account's.
        """
        now = time.monotonic()
        token = self._window("token " + asked.headers.get("authorization", ""), now)
        name = asked.value("integrated_account_id")
        account = self._window(f"account {name}", now) if name else deque[float]()
        is_tokens = len(token) >= _TOKEN_REQUESTS
        is_over = is_tokens or len(account) >= _ACCOUNT_REQUESTS
        if not is_over:
            token.append(now)
            account.append(now)
        window, limit = (token, _TOKEN_REQUESTS) if is_tokens else (account, _ACCOUNT_REQUESTS)
        oldest = window[0] if window else now
        return 10 if is_over else 0, {
            "ratelimit-limit": f"{limit};w={_WINDOW_SECONDS:.0f}",
            "ratelimit-remaining": str(max(limit - len(window), 0)),
            "ratelimit-reset": f"{max(oldest + _WINDOW_SECONDS - now, 0):.0f}",
        }

    def _window(self, name: str, now: float) -> deque[float]:
        window = self._windows.setdefault(name, deque())
        while window and window[0] <= now - _WINDOW_SECONDS:
            window.popleft()
        return window


async def _send(
    request: web.Request, planned: Answer, limits: dict[str, str], *, compress: bool
) -> web.StreamResponse:
    response = web.StreamResponse(status=planned.status, headers={**planned.headers, **limits})
    coding = _coding(request.headers.get("Accept-Encoding", "")) if compress else None
    pieces = _gathered(planned.pieces())
    if coding:
        response.headers["Content-Encoding"] = coding
        pieces = _gathered(_encoded(pieces, coding))
        response.enable_chunked_encoding()
    elif planned.has_length:
        response.content_length = sum(len(piece) for piece in planned.pieces())
    else:
        response.enable_chunked_encoding()
    with suppress(ConnectionError):  # The client went away: nobody is left to be told.
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        await response.write_eof()
    return response


def _coding(accepted: str) -> str | None:
    names = {name.partition(";")[0].strip() for name in accepted.split(",")}
    return next((name for name in ("br", "gzip", "deflate") if name in names), None)


def _encoded(pieces: Iterator[bytes], coding: str) -> Iterator[bytes]:
    if coding == "br":
        brotli_stream: Any = brotli.Compressor(quality=1)
        yield from (brotli_stream.process(piece) for piece in pieces)
        yield brotli_stream.finish()
    else:
        stream = zlib.compressobj(1, wbits=31 if coding == "gzip" else 15)
        yield from (stream.compress(piece) for piece in pieces)
        yield stream.flush()


def _gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Join small pieces, so that each write is worth its system call."""
    held: list[bytes] = []
    held_bytes = 0
    for piece in pieces:
        held.append(piece)
        held_bytes += len(piece)
        if held_bytes >= _WRITE_BYTES:
            yield b"".join(held)
            held, held_bytes = [], 0
    if held_bytes:
        yield b"".join(held)


@asynccontextmanager
async def running_emulator(
    config: EmulatorConfig, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Emulator]:
    """Run an emulator in this event loop for as long as the block lasts."""
    emulator = Emulator(config)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", emulator.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise UsageError(
                f"cannot listen on {host}:{port}: {error.strerror} (--port)"
            ) from error
        address = runner.addresses[0]
        emulator.url = f"http://{address[0]}:{address[1]}"
        yield emulator
    finally:
        await runner.cleanup()


async def serve(
    config: EmulatorConfig, *, host: str, port: int, on_ready: Callable[[str], None]
) -> None:
    """Serve until SIGINT or SIGTERM; ``on_ready`` is told the URL."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with running_emulator(config, host=host, port=port) as emulator:
        on_ready(emulator.url)
        await stop.wait()
