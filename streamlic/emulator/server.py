"""The server: plans each answer, with its fault if one is due, and sends it."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import parse_qsl

from aiohttp import web

from streamlic.emulator.answers import LICENSES_PATH, answer
from streamlic.emulator.asked import Asked
from streamlic.emulator.config import EmulatorConfig
from streamlic.emulator.faults import Fault, FaultPlan, faulty_answer
from streamlic.emulator.night_answers import NIGHT_PATH, chosen_night, night_answer
from streamlic.emulator.planned import Answer, Refusal, rate_limited
from streamlic.emulator.sending import cut_off, send
from streamlic.emulator.worlds import World
from streamlic.errors import UsageError
from streamlic.system.signals import heeded

_LOGGED_REQUESTS = 10_000


class Listener:
    """Accepts connections on an address, except while it pauses."""

    def __init__(self, runner: web.AppRunner, host: str, port: int) -> None:
        self._runner = runner
        self._host = host
        self._port = port
        self._site: web.TCPSite | None = None
        self._resuming: asyncio.Task[None] | None = None

    async def start(self) -> str:
        """Listen; return the URL. UsageError if the address cannot be used."""
        self._site = web.TCPSite(self._runner, self._host, self._port)
        try:
            await self._site.start()
        except OSError as error:
            raise UsageError(
                f"cannot listen on {self._host}:{self._port}: {error.strerror}",
                parameter="port",
            ) from error
        except UnicodeError as error:
            raise UsageError(
                f"cannot listen on {self._host[:80]!r}: this is not a valid host name",
                parameter="host",
            ) from error
        host, self._port = self._runner.addresses[0][:2]
        return f"http://{host}:{self._port}"

    async def pause(self, seconds: float) -> None:
        """Refuse connections for this many seconds."""
        if self._site:
            site, self._site = self._site, None
            await site.stop()
            self._resuming = asyncio.create_task(self._resume(seconds))

    async def _resume(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.start()

    async def stop(self) -> None:
        """Stop listening."""
        if self._resuming:
            self._resuming.cancel()
        await self._runner.cleanup()


class Emulator:
    """An emulated Truto. ``requests`` are the last 10,000 requests, without their tokens.

    ``refused`` counts those that exceeded a rate limit.
    """

    def __init__(self, config: EmulatorConfig, faults: tuple[Fault, ...] = ()) -> None:
        self.config = config
        self.faults = FaultPlan(faults, config.seed)
        self.listener: Listener | None = None
        self.url = ""
        self.refused = 0
        self.requests: deque[Asked] = deque(maxlen=_LOGGED_REQUESTS)
        self._windows: dict[str, deque[float]] = {}

    @property
    def night(self) -> int:
        """Which night it is; set it to any night from 0 on."""
        return self.config.night

    @night.setter
    def night(self, night: int) -> None:
        self.config = replace(self.config, night=night)

    @property
    def world(self) -> World:
        """What there is in this night."""
        return self.config.world

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        if request.path == NIGHT_PATH:
            return await send(request, await self._moved(request), {}, compress=False)
        query = parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True)
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Asked(request.method, request.path, query, headers)
        shown = {k: v for k, v in headers.items() if k != "authorization"}
        self.requests.append(Asked(asked.method, asked.path, query, shown))
        wait, limits = self._count(asked) if self.config.rate_limits else (0, {})
        if self.config.latency_ms:
            await asyncio.sleep(self.config.latency_ms / 1000)
        planned = rate_limited(wait) if wait else self._planned(asked)
        if planned.wire and planned.wire.fault == "refuse":
            cut_off(request, is_reset=True)
            if self.listener:
                await self.listener.pause(planned.wire.at)
        return await send(request, planned, limits, compress=self.config.compress)

    async def _moved(self, request: web.Request) -> Answer:
        """Move to another night, if this is a POST; it needs no token, and is not logged."""
        try:
            if request.method == "POST":
                self.night = chosen_night(self.config, await request.read())
        except Refusal as refusing:
            return refusing.answer
        return night_answer(self.config)

    def _planned(self, asked: Asked) -> Answer:
        fault = self.faults.next(asked) if asked.path == LICENSES_PATH else None
        return faulty_answer(self.config, asked, fault) if fault else answer(self.config, asked)

    def _count(self, asked: Asked) -> tuple[int, dict[str, str]]:
        """Count a request in both tiers; return the seconds to wait, 0 for none, and headers.

        The headers describe the tier that is used up, or else the account's.
        """
        now, seconds = time.monotonic(), self.config.window_seconds
        token_limit, account_limit = self.config.token_requests, self.config.account_requests
        token = self._window("token " + asked.headers.get("authorization", ""), now)
        name = asked.value("integrated_account_id")
        account = self._window(f"account {name}", now) if name else deque[float]()
        is_tokens = len(token) >= token_limit
        is_over = is_tokens or len(account) >= account_limit
        if not is_over:
            token.append(now)
            account.append(now)
        self.refused += is_over
        window, limit = (token, token_limit) if is_tokens else (account, account_limit)
        oldest = window[0] if window else now
        return math.ceil(seconds) if is_over else 0, {
            "ratelimit-limit": f"{limit};w={math.ceil(seconds)}",
            "ratelimit-remaining": str(max(limit - len(window), 0)),
            "ratelimit-reset": f"{max(oldest + seconds - now, 0):.0f}",
        }

    def _window(self, name: str, now: float) -> deque[float]:
        window = self._windows.setdefault(name, deque())
        while window and window[0] <= now - self.config.window_seconds:
            window.popleft()
        return window


@asynccontextmanager
async def running_emulator(
    config: EmulatorConfig,
    *,
    faults: tuple[Fault, ...] = (),
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[Emulator]:
    """Run an emulator in this event loop until the block ends."""
    emulator = Emulator(config, faults)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", emulator.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    emulator.listener = Listener(runner, host, port)
    try:
        emulator.url = await emulator.listener.start()
        yield emulator
    finally:
        await emulator.listener.stop()


async def serve(
    config: EmulatorConfig,
    *,
    faults: tuple[Fault, ...] = (),
    host: str,
    port: int,
    on_ready: Callable[[str], None],
) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP; call ``on_ready`` with the URL."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in heeded():
        loop.add_signal_handler(number, stop.set)
    async with running_emulator(config, faults=faults, host=host, port=port) as emulator:
        on_ready(emulator.url)
        await stop.wait()
