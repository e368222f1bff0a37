"""A proxy before an object store that kills or stops the process whose requests it passes on.

So a process can end before or after any request that any of its libraries sends, as they are: the
answer of a request that was carried out is then lost, and a request that was sent may arrive late.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Literal

from aiohttp import ClientSession, ClientTimeout, TCPConnector, web
from multidict import CIMultiDict
from yarl import URL

from tests.support.server_thread import in_a_thread

When = Literal["before", "after"]
Counted = Literal["writes", "first reads", "all"]
HOST = "127.0.0.1"
WAIT_SECONDS = 120
_READS = frozenset({"GET", "HEAD"})
_RECORDS = (".json", ".avro")
_OF_A_CONNECTION = frozenset({"connection", "keep-alive", "transfer-encoding"})
_ADDED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
"""What a client of aiohttp adds, and what is signed is passed on as it came."""


@dataclass(frozen=True)
class Step:
    """A request, by its number from 1, at which the process gets a signal; 0 is none."""

    number: int
    when: When = "before"
    signal: signal.Signals = signal.SIGKILL


NEVER = Step(0)


class SteppedProxy:
    """Counts the requests of one process, and acts at one of them.

    "writes" are requests that change something. "first reads" count as well: all that read, but for
    records that were read before. These never change, so that it makes no difference whether a
    process is stopped there, or at the request before. Each request takes ``more_seconds`` on its
    way.
    """

    def __init__(self, port: int, counted: Counted = "writes", more_seconds: float = 0.0) -> None:
        self.port = 0
        self.counted = counted
        self.count = 0
        self.log: list[str] = []
        """The requests that were counted."""
        self._more_seconds = more_seconds
        self._records: set[str] = set()
        """Those that are there, of streamlic's log and of Delta's and Iceberg's metadata."""
        self._server = port
        self._step = NEVER
        self._process = 0
        self._has_process = threading.Event()
        self._is_released = asyncio.Event()
        self._session: ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def watch(self, step: Step) -> None:
        """Count from here on, for the next process."""
        self._step, self.count, self.log = step, 0, []
        self._records.clear()
        self._has_process.clear()
        self._is_released.clear()

    def has_process(self, process: int) -> None:
        """Set the process that gets the signal."""
        self._process = process
        self._has_process.set()

    def release(self) -> None:
        """Let a process that was stopped run again, and pass its request or its answer on."""
        os.kill(self._process, signal.SIGCONT)
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._is_released.set)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listen while the context lasts."""
        self._loop = asyncio.get_running_loop()
        # Servers close what is idle for longer, just when a request may be on its way.
        connector = TCPConnector(limit=0, keepalive_timeout=1)
        self._session = ClientSession(
            connector=connector,
            auto_decompress=False,
            skip_auto_headers=_ADDED,
            timeout=ClientTimeout(total=WAIT_SECONDS),
        )
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._pass)
        runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, HOST, 0)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield
        finally:
            self._is_released.set()
            await runner.cleanup()
            await self._session.close()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if self._more_seconds:
            await asyncio.sleep(self._more_seconds)
        is_it = False
        if self._is_counted(request):
            self.count += 1
            self.log.append(f"{request.method} {request.raw_path.partition('?')[0]}")
            is_it = self.count == self._step.number
        if is_it and self._step.when == "before":
            await self._act()
            if self._step.signal == signal.SIGKILL:
                return web.Response(status=503)  # To nobody.
        answer = await self._answer(request, body)
        if is_it and self._step.when == "after":
            await self._act()
        return answer

    def _is_counted(self, request: web.Request) -> bool:
        if request.method not in _READS or self.counted == "all":
            return True
        return self.counted == "first reads" and request.path not in self._records

    async def _answer(self, request: web.Request, body: bytes) -> web.Response:
        assert self._session is not None
        url = URL(f"http://{HOST}:{self._server}{request.raw_path}", encoded=True)
        async with self._session.request(
            request.method, url, headers=_passed(request.headers), data=body or None,
            allow_redirects=False,
        ) as answer:  # fmt: skip
            data = await answer.read()
            if answer.ok and request.path.endswith(_RECORDS):
                self._records.add(request.path)
            return web.Response(body=data, status=answer.status, headers=_passed(answer.headers))

    async def _act(self) -> None:
        await asyncio.to_thread(self._has_process.wait, WAIT_SECONDS)
        os.kill(self._process, self._step.signal)
        if self._step.signal == signal.SIGSTOP:
            await self._is_released.wait()


def _passed(headers: object) -> CIMultiDict[str]:
    pairs = headers.items()  # type: ignore[attr-defined]
    return CIMultiDict((name, value) for name, value in pairs
                       if name.lower() not in _OF_A_CONNECTION)  # fmt: skip


@contextmanager
def stepped_proxy(
    port: int, counted: Counted = "writes", more_seconds: float = 0.0
) -> Iterator[SteppedProxy]:
    """Run a proxy before the server on this port of loopback."""
    proxy = SteppedProxy(port, counted, more_seconds)

    @asynccontextmanager
    async def opened() -> AsyncIterator[SteppedProxy]:
        async with proxy.serving():
            yield proxy

    with in_a_thread(opened) as one:
        yield one
