"""A process's lease of permits: the thread that asks the server, for all clients of the process."""

from __future__ import annotations

import copy
import socket
import threading
import time
from collections.abc import Callable

from streamlic.errors import PermitsUnavailable, StreamlicError
from streamlic.truto.budget.base import UNDER_WAY_SECONDS, TokenPermit
from streamlic.truto.budget.lease_pool import LeasePool
from streamlic.truto.budget.ledger import VALID_SECONDS
from streamlic.truto.budget.messages import Answer
from streamlic.truto.budget.sockets import Channel, WrongKey, parse_address
from streamlic.truto.rate_limit import LocalBudget, RateLimit
from streamlic.truto.wait_reasons import WaitCause, WaitReason

_IDLE_SECONDS = 10.0
_REPLY_SECONDS = 5.0
_FIRST_PAUSE_SECONDS = 0.05
_MOST_PAUSE_SECONDS = 1.0


class Lessee:
    """All that a process leases of one server. Its methods return at once, from any thread.

    A thread asks the server as long as something is needed or to be reported, and ends when there
    was nothing for ten seconds. Where no server answers, it tries again for ``patience_seconds``.
    Then the process has ``fallback`` as a limit of its own for the rest of its life, or ``take``
    raises PermitsUnavailable, for as long again.
    """

    def __init__(
        self,
        address: str,
        read_key: Callable[[], str],
        *,
        key_origin: str,
        fallback: RateLimit | None,
        patience_seconds: float,
    ) -> None:
        self._address = address
        self._read_key = read_key
        self._key_origin = key_origin
        self._fallback = fallback
        self._patience_seconds = patience_seconds
        self._pool = LeasePool()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._lost_at: float | None = None
        self._attempts = 0
        self._next_attempt_at = 0.0
        self._failure: StreamlicError | None = None
        self._fails_until = 0.0
        self._own: LocalBudget | None = None

    def delay(self, now: float, wanted: int) -> float:
        """Return the seconds after which to ask again; 0 if ``take`` has a permit, or raises."""
        with self._changed:
            if self._own:
                return self._own.delay(now)
            if self._failure and now < self._fails_until:
                return 0.0
            self._failure = None
            delay = self._pool.delay(now, wanted)
            if delay > 0:
                self._wake()
            return 0.0 if self._failure else max(delay, self._next_attempt_at - now)

    def take(self, now: float) -> TokenPermit | None:
        """Return a permit for a request that is sent at ``now``, None if it must wait."""
        with self._changed:
            if self._own:
                return self._own.take(now)
            if self._failure:
                raise copy.copy(self._failure)
            return self._pool.take(now)

    def recount(self, permit: TokenPermit, moment: float) -> None:
        """Count a permit's request at ``moment``."""
        with self._changed:
            if self._own:
                self._own.recount(permit, moment)
                return
            self._pool.recount(permit, moment, time.monotonic())
            self._wake()

    def wait_until(self, moment: float) -> None:
        """Let all processes send nothing before ``moment``."""
        with self._changed:
            self._pool.wait_until(moment)
            if self._own:
                self._own.wait_until(moment)
            else:
                self._wake()

    def cause(self) -> WaitCause:
        """Return why the next request waits."""
        with self._changed:
            if self._own:
                return self._own.cause()
            if self._lost_at is not None:
                return WaitCause(WaitReason.PERMIT_SERVER, self._address)
            return self._pool.cause()

    def _wake(self) -> None:
        """Let the thread look what there is to do, and start it if there is none."""
        if self._thread:
            self._changed.notify()
            return
        try:
            key = self._read_key()
        except StreamlicError as error:
            self._fail(error, time.monotonic())
            return
        thread = threading.Thread(
            target=self._run, args=(key,), name="streamlic-lease", daemon=True
        )
        thread.start()
        self._thread = thread

    def _run(self, key: str) -> None:
        channel: Channel | None = None
        while self._wait_for_work():
            try:
                channel = channel or self._connected(key)
                self._exchange(channel)
            except (OSError, EOFError, ValueError, WrongKey) as error:
                if channel:
                    channel.close()
                    channel = None
                if not self._tries_again(error):
                    break
        if channel:
            channel.close()

    def _wait_for_work(self) -> bool:
        """Wait until there is something to ask or report; False if there was nothing for long."""
        with self._changed:
            idle_at = time.monotonic() + _IDLE_SECONDS
            while True:
                now = time.monotonic()
                due_at = self._pool.due_at(now)
                if due_at is not None and due_at <= now:
                    return True
                if due_at is None and now >= idle_at:
                    self._thread = None
                    return False
                self._changed.wait((idle_at if due_at is None else due_at) - now)

    def _connected(self, key: str) -> Channel:
        connected = socket.create_connection(parse_address(self._address), _REPLY_SECONDS)
        channel = Channel(connected, _REPLY_SECONDS)
        try:
            channel.introduce(key)
        except BaseException:
            channel.close()
            raise
        return channel

    def _exchange(self, channel: Channel) -> None:
        with self._changed:
            ask = self._pool.ask(time.monotonic())
        channel.send(ask.to_bytes())
        answer = Answer.from_bytes(channel.receive())
        with self._changed:
            self._pool.answered(answer, time.monotonic())
            self._lost_at, self._attempts = None, 0

    def _tries_again(self, error: BaseException) -> bool:
        """Wait before the next attempt; False if there is none, because the time is over."""
        with self._changed:
            now = time.monotonic()
            self._lost_at = now if self._lost_at is None else self._lost_at
            is_over = now >= self._lost_at + self._patience()
            is_hopeless = isinstance(error, WrongKey) and not self._fallback
            if self._pool.is_wanted and not (is_over or is_hopeless):
                pause = min(_FIRST_PAUSE_SECONDS * 2**self._attempts, _MOST_PAUSE_SECONDS)
                self._attempts += 1
                self._next_attempt_at = now + pause
                while (left := self._next_attempt_at - time.monotonic()) > 0:
                    self._changed.wait(left)
                return True
            if self._pool.is_wanted:
                self._give_up(error, now)
            self._pool.forget()
            self._thread, self._lost_at, self._attempts = None, None, 0
            return False

    def _give_up(self, error: BaseException, now: float) -> None:
        if self._fallback:
            self._own = LocalBudget(self._fallback)
            self._own.wait_until(self._pool.held_until)
        else:
            self._fail(self._unavailable(error), now)

    def _patience(self) -> float:
        """Return how long to look for the server.

        With a fallback, at least until no window holds requests of its permits any more.
        """
        if self._fallback is None:
            return self._patience_seconds
        used = self._fallback.window_seconds + VALID_SECONDS + UNDER_WAY_SECONDS
        return max(self._patience_seconds, used)

    def _fail(self, error: StreamlicError, now: float) -> None:
        self._failure = error
        self._fails_until = now + self._patience_seconds

    def _unavailable(self, error: BaseException) -> PermitsUnavailable:
        if isinstance(error, WrongKey):
            text = f"the permit server at {self._address} has another key than {self._key_origin}"
            return PermitsUnavailable(text)
        reason = getattr(error, "strerror", None) or str(error) or "it closed the connection"
        return PermitsUnavailable(
            f"the permit server at {self._address} gave no permits for "
            f"{self._patience_seconds:g} s: {reason}",
            advice="check that it runs, or give {fallback}, a limit to continue with on its own",
        )
