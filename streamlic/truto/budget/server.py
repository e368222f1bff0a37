"""The permit server: leases permits of one token to processes that share it, over TCP."""

from __future__ import annotations

import secrets
import socket
import socketserver
import threading
import time
from collections import OrderedDict
from types import TracebackType
from typing import Self

from streamlic.errors import UsageError
from streamlic.truto.budget.ledger import VALID_SECONDS, PermitLedger
from streamlic.truto.budget.messages import Ask
from streamlic.truto.budget.sockets import Channel, WrongKey, address_text
from streamlic.truto.rate_limit import TOKEN_RATE_LIMIT, LocalBudget, RateLimit, parse_rate_limit

_SILENCE_SECONDS = 60.0
_LOOK_SECONDS = 0.05
_MOST_CONNECTIONS = 1_000
_MOST_STRANGERS = 32
_LEAST_KEY = 16


class PermitServer:
    """Leases one token's permits to processes anywhere. Use it as a context manager.

    Each process has a LeasedBudget with the server's ``address``, and its ``key`` in a variable or
    a file. Together they send no more than ``limit`` allows, whichever of them need it when:

        with streamlic.PermitServer(host="10.0.0.7") as server:
            start_workers(server.address, server.key)

    ``port`` 0 takes a free one. A ``key`` that is given has 16 characters or more, otherwise it is
    random. With a given key, processes may know the server from an earlier start: it then grants
    nothing in its first window, which their requests may have filled. ``budget`` is for requests of
    the server's own process, which count too.

    The server needs no token. It and its processes prove to each other that they know the key. The
    permits are not encrypted: they reveal nothing but their number.
    """

    def __init__(
        self,
        limit: RateLimit | str = TOKEN_RATE_LIMIT,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        key: str | None = None,
    ) -> None:
        of_text = parse_rate_limit(limit, "token_rate_limit") if isinstance(limit, str) else limit
        if of_text is None:
            raise UsageError("expected a limit to lease permits of, got none")
        if key is not None and len(key) < _LEAST_KEY:
            raise UsageError(
                f"expected a key of {_LEAST_KEY} characters or more, got a shorter one"
            )
        self.limit = of_text
        """The limit that all processes keep together."""
        self.budget = LocalBudget(of_text)
        """The count of all requests. Clients of this process can use it as their ``budget``."""
        self.key = key or secrets.token_hex(32)
        """What the processes have to know. Give it to them by a secret's way."""
        self._is_known = key is not None
        self._host, self._port = host, port
        self._server: _Server | None = None

    def __repr__(self) -> str:
        return f"PermitServer({self.limit}, {self.address if self._server else 'not running'})"

    @property
    def address(self) -> str:
        """Host and port, for LeasedBudget. The host is the one given."""
        if self._server is None:
            raise UsageError("a permit server has to be entered first: with server")
        return address_text(self._host, self._server.server_address[1])

    def __enter__(self) -> Self:
        try:
            self._server = _Server(self._host, self._port, self.key, self.budget, self.limit)
        except (OSError, OverflowError) as error:
            raise UsageError(
                f"cannot listen on {address_text(self._host, self._port)}: {error}"
            ) from error
        if self._is_known:
            now = time.monotonic()
            while self.budget.take(now, valid_seconds=VALID_SECONDS):
                pass
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        server, self._server = self._server, None
        if server:
            server.stop()


class _Server(socketserver.ThreadingTCPServer):
    """One thread accepts, and each connection has its own: one that hangs blocks no other."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, host: str, port: int, key: str, budget: LocalBudget, limit: RateLimit
    ) -> None:
        if ":" in host:
            self.address_family = socket.AF_INET6
        self.key = key
        self._ledger = PermitLedger(budget, limit)
        self._lock = threading.Lock()
        self._strangers: OrderedDict[Channel, None] = OrderedDict()
        self._members: set[Channel] = set()
        self._accepting = threading.Thread(
            target=self.serve_forever, args=(_LOOK_SECONDS,), name="streamlic-permits", daemon=True
        )
        super().__init__((host, port), _Handler)

    def start(self) -> None:
        """Accept connections."""
        self._accepting.start()

    def stop(self) -> None:
        """End all connections, and accept none."""
        self.shutdown()
        self._accepting.join()
        self.server_close()
        with self._lock:
            for channel in [*self._strangers, *self._members]:
                channel.cut()

    def answer(self, message: bytes) -> bytes:
        """Answer a message; ValueError if it is not one."""
        ask = Ask.from_bytes(message)
        with self._lock:
            return self._ledger.answer(ask, time.monotonic()).to_bytes()

    def meet(self, channel: Channel) -> None:
        """Count a connection that has not proved its key. The oldest of too many has to go."""
        with self._lock:
            self._strangers[channel] = None
            if len(self._strangers) > _MOST_STRANGERS:
                next(iter(self._strangers)).cut()

    def admit(self, channel: Channel) -> None:
        """Count a connection that has proved its key. Raises EOFError if there are too many."""
        with self._lock:
            if len(self._members) >= _MOST_CONNECTIONS:
                raise EOFError
            self._members.add(channel)
            self._strangers.pop(channel)

    def part(self, channel: Channel) -> None:
        """Forget a connection."""
        with self._lock:
            self._strangers.pop(channel, None)
            self._members.discard(channel)
            channel.close()


class _Handler(socketserver.BaseRequestHandler):
    server: _Server
    request: socket.socket

    def handle(self) -> None:
        """Answer one process until it leaves."""
        try:
            channel = Channel(self.request, _SILENCE_SECONDS)
        except OSError:
            return  # It has left already.
        self.server.meet(channel)
        try:
            channel.admit(self.server.key)
            self.server.admit(channel)
            while True:
                channel.send(self.server.answer(channel.receive()))
        except (OSError, EOFError, ValueError, WrongKey):
            return  # It has left, or is none of ours. Its permits are counted as used.
        finally:
            self.server.part(channel)
