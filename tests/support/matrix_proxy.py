"""A proxy before an object store that kills or stops the process whose requests it passes on.

So a process can end before or after any request that any of its libraries sends, as they are: the
answer of a request that was carried out is then lost, and a request that was sent may arrive late.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus

from aiohttp import ClientSession, ClientTimeout, TCPConnector, web
from multidict import CIMultiDict
from yarl import URL

from tests.support.server_thread import in_a_thread

HOST = "127.0.0.1"
WAIT_SECONDS = 120
_READS = frozenset({"GET", "HEAD"})
_RECORDS = (".json", ".avro")
_LOCK = "/lock"
_ANY_NAME = re.compile(
    r"lake[0-9a-f]{8}|part-\w+-\w+-\d+|(?:log|snapshots)/\d{8}(?=\.)|snap-\d+|[0-9a-f]{8}-[-0-9a-f]{27}"
    r"|[0-9a-f]{16,}(?!\d*\.json)"
)
"""What differs from lake to lake, and from writer to writer. The numbers of part files stay."""
_NAMES = re.compile(r"lake[0-9a-f]{8}/[^<\"\s?]+")
"""What a request says to delete, or a catalog to show."""
_OF_A_CONNECTION = frozenset({"connection", "keep-alive", "transfer-encoding"})
_ADDED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
"""What a client of aiohttp adds, and what is signed is passed on as it came."""


Place = tuple[int, str, int]
"""A night, a change, and how many requests came after it."""


class Places:
    """Where writers of lakes are stopped or killed: each place once, or every so many-th one.

    A place is a request of a writer: the first, second, ... since its last change of the lake, in
    a night. It makes no difference when a record is read that is there, so that is none. Writers
    are stopped before a request, or killed before one or after one that changes something.
    """

    def __init__(self, every: int = 1, *, kills: bool = False) -> None:
        self.kills = kills
        self.claims = 0
        """How often a writer has taken a lake over, or was its first."""
        self._every = every
        self._seen: set[Place] = set()
        self.alone: set[Place] = set()
        """Where a writer was stopped and nobody took the lake over."""
        self._nights: set[str] = set()

    def __len__(self) -> int:
        return len(self._seen)

    def start_lake(self) -> None:
        """Begin with the first night again."""
        self._nights.clear()

    def new(self, change: str, requests: int) -> Place | None:
        """Return the place so many requests after a writer's last change if it must end there."""
        place, seen = (len(self._nights), change, requests), len(self._seen)
        self._seen.add(place)
        if len(self._seen) == seen or seen % self._every:
            return None
        self.alone.discard(place)
        return place

    def forget(self, place: Place) -> None:
        """Let a writer stop there again: nobody took the lake over from the last one."""
        self._seen.discard(place)
        self.alone.add(place)

    def landed(self, body: bytes) -> None:
        """Note what a record says that was created."""
        self.claims += _word(body, "kind") == "claim"
        if night := _word(body, "night"):
            self._nights.add(night)


class SteppedProxy:
    """Counts the requests of one process, and stops or kills it at each place that is new.

    Requests that only read count if ``counts_reads``. Each takes ``more_seconds`` on its way.
    """

    def __init__(self, port: int, *, counts_reads: bool = False, more_seconds: float = 0.0) -> None:
        self.port = 0
        self.counts_reads = counts_reads
        self.count = 0
        self._more_seconds = more_seconds
        self._server = port
        self._places: Places | None = None
        self._change, self._since = "", 0
        """The last change that the process has asked for, and its requests since."""
        self._process = 0
        self._has_process = threading.Event()
        self.held_at: Place | None = None
        """Where the process was stopped, or killed."""
        self._is_released = asyncio.Event()
        self._session: ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def watch(self, places: Places | None = None) -> None:
        """Count from here on, for the next process. It ends at each of the places that is new."""
        self.count = 0
        self._places, self._change, self._since, self.held_at = places, "", 0, None
        self._has_process.clear()

    def has_process(self, process: int) -> None:
        """Set the process that gets the signal."""
        self._process = process
        self._has_process.set()

    def release(self) -> None:
        """Let a process that was stopped run again, and pass its request or its answer on."""
        self.held_at = None
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
        is_read = request.method in _READS
        if self.counts_reads or not is_read:
            self.count += 1
        places = self._places
        if places is None:
            return await self._answer(request, body)
        is_of_record = is_read and request.path.endswith(_RECORDS)
        if not is_of_record and self._is_new_place(places, request, body):
            await self._act(places)
            if places.kills:
                return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE)  # To nobody.
        answer = await self._answer(request, body)
        if answer.status < HTTPStatus.BAD_REQUEST and request.method == "PUT":
            places.landed(body)
        # A record that is there never changes: it is all the same when it is read.
        is_missing = is_of_record and answer.status == HTTPStatus.NOT_FOUND
        if is_missing and self._is_new_place(places, request, body):
            await self._act(places)
        if places.kills and not is_read and not self.held_at:
            self.held_at = places.new(self._change, 0)
            if self.held_at:
                await self._act(places)
        return answer

    async def _answer(self, request: web.Request, body: bytes) -> web.Response:
        assert self._session is not None
        url = URL(f"http://{HOST}:{self._server}{request.raw_path}", encoded=True)
        async with self._session.request(
            request.method, url, headers=_passed(request.headers), data=body or None,
            allow_redirects=False,
        ) as answer:  # fmt: skip
            data = await answer.read()
            return web.Response(body=data, status=answer.status, headers=_passed(answer.headers))

    def _is_new_place(self, places: Places, request: web.Request, body: bytes) -> bool:
        """Take a request into account, and tell if the process must end before it."""
        is_read = request.method in _READS
        if self.held_at or (is_read and places.kills):
            return False
        self._since += 1
        self.held_at = places.new(self._change, self._since)
        if not is_read and not request.path.endswith(_LOCK):
            self._change, self._since = _change(request, body), 0
        return self.held_at is not None

    async def _act(self, places: Places) -> None:
        await asyncio.to_thread(self._has_process.wait, WAIT_SECONDS)
        self._is_released.clear()
        os.kill(self._process, signal.SIGKILL if places.kills else signal.SIGSTOP)
        if not places.kills:
            await self._is_released.wait()


def _change(request: web.Request, body: bytes) -> str:
    """Name what a request changes: each lake and each writer have the same names."""
    names = _NAMES.findall(body.decode(errors="replace")) if request.method == "POST" else []
    masked = sorted({_ANY_NAME.sub("*", name) for name in (request.path, *names)})
    kind = request.headers.get("X-Amz-Target") or _word(body, "kind")
    if kind == "commit":  # A night has some: they count from the record that a writer began with.
        kind += str(int(_word(body, "number")) - int(_word(body, "epoch")))
    return " ".join((request.method, *masked, kind))


def _word(body: bytes, name: str) -> str:
    """Return the word that a record has under a name, or nothing."""
    found = re.search(rf'"{name}": "?(\w+)'.encode(), body)
    return found[1].decode() if found else ""


def _passed(headers: object) -> CIMultiDict[str]:
    pairs = headers.items()  # type: ignore[attr-defined]
    return CIMultiDict((name, value) for name, value in pairs
                       if name.lower() not in _OF_A_CONNECTION)  # fmt: skip


@contextmanager
def stepped_proxy(
    port: int, *, counts_reads: bool = False, more_seconds: float = 0.0
) -> Iterator[SteppedProxy]:
    """Run a proxy before the server on this port of loopback."""
    proxy = SteppedProxy(port, counts_reads=counts_reads, more_seconds=more_seconds)

    @asynccontextmanager
    async def opened() -> AsyncIterator[SteppedProxy]:
        async with proxy.serving():
            yield proxy

    with in_a_thread(opened) as one:
        yield one
