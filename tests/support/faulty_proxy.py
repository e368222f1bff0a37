"""A proxy on loopback between a client and an object store, which fails when a test says so.

    with faulty_proxy(server.port) as proxy:
        environment = server.environment_at(proxy.port)
        proxy.lose_answers(1, path="_streamlic/log")

A fault concerns the next requests of some methods whose path has a text in it; all others pass.
The proxy closes each connection after one answer.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from tests.support.server_thread import in_a_thread

_PIECE = 1 << 16
_WRITES = ("PUT", "POST")
_DATE = re.compile(rb"(?im)^date: [^\r\n]*")
_LENGTH = re.compile(rb"(?im)^content-length: *(\d+)")
_EXPECT = re.compile(rb"(?im)^expect: *100-continue")
_CONNECTION = re.compile(rb"(?im)^connection: [^\r\n]*\r\n")


@dataclass(frozen=True)
class Passed:
    """One request that came."""

    method: str
    path: str
    body_bytes: int
    fault: str
    """What was done to it; empty if it passed."""


@dataclass
class _Exchange:
    """One request, its client and, once it is asked, the store."""

    head: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    method: str = field(init=False)
    path: str = field(init=False)
    left: int = field(init=False)
    """How much of the body has not been read."""

    def __post_init__(self) -> None:
        self.method, self.path = self.head.decode("latin-1").split(" ", 2)[:2]
        found = _LENGTH.search(self.head)
        self.left = int(found[1]) if found else 0

    async def body(self, most: int | None = None) -> AsyncIterator[bytes]:
        """Read the body piece by piece, or its beginning."""
        end = 0 if most is None else max(self.left - most, 0)
        while self.left > end:
            piece = await self.reader.read(min(_PIECE, self.left - end))
            if not piece:
                raise ConnectionError
            self.left -= len(piece)
            yield piece

    def reset(self) -> None:
        """End the connection as a machine that vanished would."""
        client: socket.socket = self.writer.get_extra_info("socket")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


_Act = Callable[[_Exchange], Awaitable[None]]


@dataclass
class _Fault:
    name: str
    act: _Act
    times: float
    methods: tuple[str, ...]
    path: str

    def concerns(self, exchange: _Exchange) -> bool:
        return self.times > 0 and exchange.method in self.methods and self.path in exchange.path


class FaultyProxy:
    """What passes, and the faults to come. The methods may be called from any thread."""

    def __init__(self, store_port: int) -> None:
        self.port = 0
        self.passed: list[Passed] = []
        self.bytes_a_second: float | None = None
        """How fast the bodies of all requests together pass; None for as fast as they come."""
        self._store_port = store_port
        self._faults: list[_Fault] = []
        self._shift = timedelta()
        self._is_free = 0.0

    def lose_answers(
        self, times: float, *, path: str = "", methods: tuple[str, ...] = _WRITES
    ) -> None:
        """Carry out requests, but cut the connection before the answer."""
        self._add("lost answer", self._lose, times, methods, path)

    def answer(
        self,
        times: float,
        status: int,
        code: str,
        *,
        path: str = "",
        methods: tuple[str, ...] = _WRITES,
    ) -> None:
        """Answer requests with an error of the store: 503 and SlowDown, 403 and AccessDenied."""
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>"
        lines = [
            f"HTTP/1.1 {status} {code}",
            "Content-Type: application/xml",
            "Connection: close",
            f"x-ms-error-code: {code}",
            f"Content-Length: {len(body)}",
        ]
        head = "\r\n".join([*lines, "", ""])

        async def act(exchange: _Exchange) -> None:
            async for _ in exchange.body():
                pass
            exchange.writer.write((head + body * (exchange.method != "HEAD")).encode())

        self._add(f"{status} {code}", act, times, methods, path)

    def reset(self, times: float, *, path: str = "", methods: tuple[str, ...] = _WRITES) -> None:
        """Cut the connection in the middle of a request's body."""

        async def act(exchange: _Exchange) -> None:
            async for _ in exchange.body(exchange.left // 2):
                pass
            exchange.reset()

        self._add("reset", act, times, methods, path)

    def cut_answers(self, times: float, *, path: str = "") -> None:
        """Cut the connection in the middle of what is read."""
        self._add("cut answer", self._cut, times, ("GET",), path)

    def hang(self, times: float, *, path: str = "", methods: tuple[str, ...] = _WRITES) -> None:
        """Take requests, and never answer."""

        async def act(exchange: _Exchange) -> None:
            async for _ in exchange.body():
                pass
            await exchange.reader.read()  # Until the client gives up.

        self._add("hang", act, times, methods, path)

    def shift_clock(self, minutes: float) -> None:
        """Let the dates of all answers be off, as the store's clock would be."""
        self._shift = timedelta(minutes=minutes)

    def call(
        self,
        act: Callable[[], None],
        *,
        after: bool = False,
        path: str = "",
        methods: tuple[str, ...] = _WRITES,
        skip: int = 0,
    ) -> None:
        """Call a function once, before a request reaches the store or after it was carried out.

        Its answer is lost. ``skip`` requests that the fault concerns pass before.
        """

        async def ended(exchange: _Exchange) -> None:
            if after:
                await self._lose(exchange, act)
            else:
                act()
                exchange.reset()

        self._add("passed", self._pass, skip, methods, path)
        self._add("after" if after else "before", ended, 1, methods, path)

    def heal(self) -> None:
        """Let everything pass again."""
        self._faults.clear()
        self._shift, self.bytes_a_second = timedelta(), None

    def _add(self, name: str, act: _Act, times: float, methods: tuple[str, ...], path: str) -> None:
        self._faults.append(_Fault(name, act, times, methods, path))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Treat one connection."""
        with closing(writer), suppress(ConnectionError, asyncio.IncompleteReadError):
            exchange = _Exchange(await reader.readuntil(b"\r\n\r\n"), reader, writer)
            fault = next((one for one in self._faults if one.concerns(exchange)), None)
            name = fault.name if fault else ""
            self.passed.append(Passed(exchange.method, exchange.path, exchange.left, name))
            if fault:
                fault.times -= 1
            await (fault.act if fault else self._pass)(exchange)
            await writer.drain()

    async def _pass(self, exchange: _Exchange) -> None:
        async with self._asked(exchange) as answer:
            head = await answer.readuntil(b"\r\n\r\n")
            if self._shift:
                shown = format_datetime(datetime.now(UTC) + self._shift, usegmt=True)
                head = _DATE.sub(b"date: " + shown.encode(), head)
            exchange.writer.write(head)
            while piece := await answer.read(_PIECE):
                await self._pace(len(piece))
                exchange.writer.write(piece)
                await exchange.writer.drain()

    async def _lose(self, exchange: _Exchange, act: Callable[[], None] | None = None) -> None:
        async with self._asked(exchange) as answer:
            await answer.read()
        if act is not None:
            act()
        exchange.reset()

    async def _cut(self, exchange: _Exchange) -> None:
        async with self._asked(exchange) as answer:
            whole = await answer.read()
        head, blank, body = whole.partition(b"\r\n\r\n")
        exchange.writer.write(head + blank + body[: len(body) // 2])
        await exchange.writer.drain()
        exchange.writer.close()

    @asynccontextmanager
    async def _asked(self, exchange: _Exchange) -> AsyncIterator[asyncio.StreamReader]:
        """Send a request to the store, and return its answer as it comes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._store_port)
        try:
            head = _CONNECTION.sub(b"", exchange.head)
            writer.write(head[:-2] + b"Connection: close\r\n\r\n")
            if _EXPECT.search(head):
                exchange.writer.write(await reader.readuntil(b"\r\n\r\n"))
            async for piece in exchange.body():
                await self._pace(len(piece))
                writer.write(piece)
                await writer.drain()
            yield reader
        finally:
            writer.close()

    async def _pace(self, size: int) -> None:
        """Wait until so many bytes may pass, by the rate of all together."""
        if self.bytes_a_second is None:
            return
        now = time.monotonic()
        self._is_free = max(now, self._is_free) + size / self.bytes_a_second
        await asyncio.sleep(self._is_free - now)


@contextmanager
def faulty_proxy(store_port: int) -> Iterator[FaultyProxy]:
    """Run a proxy in a thread of its own, in front of a store on this machine."""
    proxy = FaultyProxy(store_port)

    @asynccontextmanager
    async def opened() -> AsyncIterator[FaultyProxy]:
        served: set[asyncio.Task[None]] = set()

        def start(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(proxy.serve(reader, writer))
            served.add(task)
            task.add_done_callback(served.discard)

        listening = await asyncio.start_server(start, "127.0.0.1", 0, limit=1 << 18)
        proxy.port = listening.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            listening.close()
            for task in list(served):
                task.cancel()
            await asyncio.gather(*served, return_exceptions=True)

    with in_a_thread(opened) as one:
        yield one
