"""Processes that start in 20 ms: forks of a server that has loaded streamlic already.

A new interpreter takes half a second of CPU to load streamlic and pyarrow. A fork has signals,
streams, a terminal, variables and a death of its own, too. What happens before ``main`` needs a new
interpreter: signals while modules load, and variables that Python or Arrow reads at its start.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from asyncio.subprocess import PIPE
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any, BinaryIO

CLOSED = -9
"""A stream that is closed; asyncio has the other names."""

_SERVER = get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        "pytest",  # A fork loads the main module again: where that is pytest, it costs nothing so.
        "streamlic.diagnostics.doctor",
        "streamlic.emulator",
        "streamlic.job.export",
        "streamlic.terminal.display",
        "tests.support.altered_cli",
        "tests.support.delta_writer",
    ]
)


class Forked:
    """A process, as much like asyncio's as tests need it."""

    def __init__(self, process: BaseProcess, streams: list[BinaryIO | None]) -> None:
        self._process = process
        self._stdin, self._stdout, self._stderr = streams
        self._lock = threading.Lock()
        self.pid: int = process.pid or 0

    @property
    def returncode(self) -> int | None:
        """The exit code, or a signal's number below zero; None while it runs."""
        with self._lock:  # The code can be read once.
            return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process without a chance to react."""
        self.send_signal(signal.SIGKILL)

    async def communicate(self, stdin: bytes = b"") -> tuple[bytes, bytes]:
        """Write its input, wait for its end, and return what it wrote. If cancelled, kill it."""
        try:
            _, out, err, _ = await asyncio.gather(
                asyncio.to_thread(_write, self._stdin, stdin),
                asyncio.to_thread(_read, self._stdout),
                asyncio.to_thread(_read, self._stderr),
                asyncio.to_thread(connection.wait, [self._process.sentinel]),
            )
        except BaseException:
            self.kill()
            raise
        return out, err

    async def wait(self) -> int:
        """Wait for its end, and return its code."""
        await self.communicate()
        assert self.returncode is not None
        return self.returncode


async def start_forked(
    run: Callable[..., None],
    *given: Any,
    args: tuple[str, ...] = (),
    stdin: Any = None,
    stdout: Any = PIPE,
    stderr: Any = PIPE,
    env: Mapping[str, str],
    ignored: tuple[signal.Signals, ...] = (),
) -> Forked:
    """Call a function in a fork; its arguments, streams and variables are the fork's own.

    A stream is a descriptor, ``PIPE``, ``CLOSED``, or None for this process's own.
    ``ignored`` are the signals that its parent ignores.
    """
    ours: list[BinaryIO | None] = []
    theirs: list[int] = []
    opened: list[int] = []
    for number, stream in enumerate((stdin, stdout, stderr)):
        if stream == PIPE:
            reader, writer = os.pipe()
            ours.append(os.fdopen(reader, "rb") if number else os.fdopen(writer, "wb"))
            opened.append(writer if number else reader)
            theirs.append(opened[-1])
            continue
        ours.append(None)
        theirs.append(number if stream is None else stream)
    start = _Start(("streamlic", *args), str(Path.cwd()), dict(env), ignored)
    descriptors = [one if one == CLOSED else _Descriptor(one) for one in theirs]
    process = _SERVER.Process(target=_begin, args=(start, descriptors, run, given), daemon=True)
    process.start()
    for one in opened:
        os.close(one)
    return Forked(process, ours)


def _write(stream: BinaryIO | None, data: bytes) -> None:
    if stream:
        with suppress(BrokenPipeError), stream:
            stream.write(data)


def _read(stream: BinaryIO | None) -> bytes:
    if not stream:
        return b""
    with stream:
        return stream.read()


# In the fork


@dataclass(frozen=True)
class _Start:
    argv: tuple[str, ...]
    directory: str
    env: dict[str, str]
    ignored: tuple[signal.Signals, ...]


@dataclass(frozen=True)
class _Descriptor:
    """A descriptor that another process gets as a copy."""

    number: int

    def __reduce__(self) -> Any:
        return _detached, (DupFd(self.number),)


def _detached(copy: Any) -> int:
    number: int = copy.detach()
    return number


def _begin(
    start: _Start, descriptors: list[int], run: Callable[..., None], given: tuple[Any, ...]
) -> None:
    """Become the process that ``start`` describes, and call ``run``."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.close(number)
        stream = None
        if descriptors[number] != CLOSED:
            os.dup2(descriptors[number], number)
            os.close(descriptors[number])
            stream = _text(number)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    os.chdir(start.directory)
    os.environ.clear()
    os.environ.update(start.env)
    sys.argv = list(start.argv)
    for number in start.ignored:
        signal.signal(number, signal.SIG_IGN)
    run(*given)


def _text(number: int) -> Any:
    """Return the stream that Python makes at its start."""
    errors = "backslashreplace" if number == 2 else "strict"
    buffering = 1 if number == 2 or os.isatty(number) else -1
    mode = "w" if number else "r"
    return os.fdopen(number, mode, buffering, encoding="utf-8", errors=errors, closefd=False)
