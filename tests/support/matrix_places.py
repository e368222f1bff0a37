"""Writers of a lake that are killed anywhere, or stopped while others take it over.

A writer continues where another one ended. So this is quick: with a lake of its own for each kill
or stop it takes ten times as long.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from tests.support.matrix_lake import Lake, Lakes
from tests.support.matrix_process import CONFLICT, LATE, STOPPED
from tests.support.matrix_proxy import Places, SteppedProxy, stepped_proxy


@dataclass
class _Found:
    lakes: int = 0
    places: int = 0
    """Which writers came to. If ``every`` is 1, one was killed, or overtaken, at each."""
    looks: int = 0


@dataclass
class Kills(_Found):
    """What a matrix of kills came to."""

    kills: int = 0


@dataclass
class Stops(_Found):
    """What a matrix of stopped writers came to."""

    alone: int = 0
    """Further ones, where a writer was stopped when nothing was left that another one could do."""
    stops: int = 0
    overtaken: int = 0
    conflicts: int = 0
    """Writers that ended because of that."""
    late: int = 0
    """Those that ended because they were stopped for longer than a request may take."""


def kill_at_each_place(lakes: Lakes, every: int = 1) -> Kills:
    """Kill writers at every so many-th place, also while they recover, and check each lake's end.

    They die before a request that changes something, and after one. There are new lakes until
    nobody dies in one.
    """
    assert lakes.server
    found, places = Kills(), Places(every, kills=True)
    with stepped_proxy(lakes.server.port) as proxy:

        def write(lake: Lake) -> int:
            before = found.kills
            while True:
                process = _started(lakes, lake, proxy, places)
                if not _waited_for(lakes, lake, process, 0, -signal.SIGKILL):
                    return found.kills - before
                found.kills += 1

        _write_lakes(lakes, places, found, write)
    return found


def stop_at_each_place(lakes: Lakes, every: int = 1) -> Stops:
    """Stop writers at every so many-th place, let rivals take over, and check each lake's end.

    A writer is stopped before a request, and its request arrives when a rival has taken over, which
    is then stopped, too. A lake so comes to its end by many writers. There are new lakes until one
    has no place left at which no writer was overtaken yet. Places are reads, too: what a writer has
    read may have changed when it writes.
    """
    found, places = Stops(), Places(every)
    with ExitStack() as stack:
        _write_lakes(lakes, places, found, _Meeting(lakes, places, stack, found).write)
    found.alone = len(places.alone)
    return found


def _write_lakes(lakes: Lakes, places: Places, found: _Found, write: Callable[[Lake], int]) -> None:
    """Write and check lakes until one has no new place: ``write`` returns how many there were."""
    is_new = True
    while is_new:
        with lakes.new() as lake:
            places.start_lake()
            is_new = write(lake) > 0
            lake.check()
            found.looks += lake.reader.looks
        found.lakes += 1
        found.places = len(places)


def _started(lakes: Lakes, lake: Lake, proxy: SteppedProxy, places: Places, **given: object) -> int:
    proxy.watch(places)
    process = lakes.start(lake, proxy.port, **given)
    proxy.has_process(process)
    return process


def _waited_for(lakes: Lakes, lake: Lake, process: int, *ends: int) -> int:
    """Wait for a process, look at what it leaves, and return its exit code: one of ``ends``."""
    code = lakes.processes.wait(process)
    lake.reader.look()
    assert not lake.reader.wrong, lake.reader.wrong
    assert code in ends, lakes.processes.said(process)
    return code


@dataclass
class _Writer:
    """A process, the proxy that it reaches the store by, and when it was stopped."""

    proxy: SteppedProxy
    process: int
    claims: int = 0
    """How often lakes had been taken over then."""


class _Meeting:
    """Writers of one lake of whom all are stopped but one."""

    def __init__(self, lakes: Lakes, places: Places, stack: ExitStack, found: Stops) -> None:
        self._lakes = lakes
        self._places = places
        self._stack = stack
        self._found = found
        self._proxies: list[SteppedProxy] = []
        self._stopped: list[_Writer] = []

    def write(self, lake: Lake) -> int:
        """Let writers take the lake over from each other until all its nights are written.

        Returns how many of those that were stopped were overtaken.
        """
        before, is_written = self._found.overtaken, False
        while not is_written:
            is_written = self._waited_for(lake, self._started(lake))
            for writer in self._overtaken():
                is_written |= self._waited_for(lake, writer)
        while self._stopped:
            writer = self._stopped.pop()
            if writer.claims < self._places.claims:
                self._found.overtaken += 1
            elif writer.proxy.held_at:
                self._places.forget(writer.proxy.held_at)
            writer.proxy.release()
            self._waited_for(lake, writer)
        return self._found.overtaken - before

    def _started(self, lake: Lake) -> _Writer:
        assert self._lakes.server
        if not self._proxies:
            opened = stepped_proxy(self._lakes.server.port)
            self._proxies.append(self._stack.enter_context(opened))
        proxy = self._proxies.pop()
        return _Writer(proxy, _started(self._lakes, lake, proxy, self._places, restarts=False))

    def _overtaken(self) -> Iterator[_Writer]:
        """Let those run again that were stopped before the lake was taken over."""
        for writer in [one for one in self._stopped if one.claims < self._places.claims]:
            self._stopped.remove(writer)
            self._found.overtaken += 1
            writer.proxy.release()
            yield writer

    def _waited_for(self, lake: Lake, writer: _Writer) -> bool:
        """Wait until a writer is stopped or ends, and tell if it has written all nights."""
        ends = (0, CONFLICT, LATE, STOPPED)
        code = _waited_for(self._lakes, lake, writer.process, *ends)
        if code == STOPPED:
            self._found.stops += 1
            writer.claims = self._places.claims
            self._stopped.append(writer)
            return False
        self._found.conflicts += code == CONFLICT
        self._found.late += code == LATE
        self._proxies.append(writer.proxy)
        return code == 0
