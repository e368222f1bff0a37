"""An emulator, or a raw server, in a thread of its own: for callers that wait for its answers."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeVar

from streamlic.emulator import Emulator, EmulatorConfig, parse_fault, running_emulator
from tests.support.raw_server import OK

T = TypeVar("T")
WAIT_SECONDS = 20


@contextmanager
def in_a_thread(opened: Callable[[], AbstractAsyncContextManager[T]]) -> Iterator[T]:
    """Keep an asynchronous context manager open in a loop that runs in another thread."""
    value: Future[T] = Future()
    is_over = asyncio.Event()
    loop = asyncio.new_event_loop()

    async def keep() -> None:
        async with opened() as one:
            value.set_result(one)
            await is_over.wait()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(keep())

    thread = threading.Thread(target=run, name="tests-server")
    thread.start()
    try:
        yield value.result(WAIT_SECONDS)
    finally:
        loop.call_soon_threadsafe(is_over.set)
        thread.join()


@contextmanager
def served(config: EmulatorConfig, *faults: str) -> Iterator[Emulator]:
    """Run an emulator; its requests may be looked at from this thread."""
    parsed = tuple(map(parse_fault, faults))
    with in_a_thread(lambda: running_emulator(config, faults=parsed)) as emulator:
        yield emulator


def pages(emulator: Emulator) -> int:
    """Count the requests for pages of licenses in a copy of the log: its thread adds to it."""
    return sum("licenses" in one.path for one in [*emulator.requests])


class Endless:
    """The answer of a server that never comes to the end of its rows, and counts its bytes.

    Where nobody holds it back, it cuts the body at 500 MB, so that a test fails soon.
    """

    MOST_BYTES = 500_000_000
    ROWS = b'{"id":"a","name":"a name that takes room"},' * 1000

    def __init__(self) -> None:
        self.written_bytes = 0
        self.is_left = threading.Event()
        """Set when the connection was closed by who asked."""

    async def __call__(self, writer: asyncio.StreamWriter) -> None:
        """Write for as long as somebody reads."""
        try:
            writer.write(OK + b"Connection: close\r\n\r\n" + b'{"result":[')
            while self.written_bytes < self.MOST_BYTES:
                writer.write(self.ROWS)
                await writer.drain()
                self.written_bytes += len(self.ROWS)
        except ConnectionError:
            self.is_left.set()
            raise


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for a process; return its code and what it said. One that does not end is killed."""
    try:
        out, err = process.communicate(timeout=WAIT_SECONDS)
    finally:
        process.kill()
    return process.returncode, out, err


def threads_of_ours() -> list[str]:
    """Return the names of the threads that streamlic began and that have not ended.

    A driver of Spark leases permits for as long as its process lives.
    """
    names = [one.name for one in threading.enumerate() if one.name.startswith("streamlic")]
    return [name for name in names if name != "streamlic-permits"]
