"""streamlic, except that one step at the end of a run goes otherwise: for a process of its own."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import NoReturn

from streamlic.cli.commands import main
from streamlic.dataset.records import Promise
from streamlic.dataset.run_state import RunState
from streamlic.tables.base import LakeWriter

_commit = LakeWriter.commit


def _at_the_last_commit(act: Callable[[], None]) -> None:
    def commit(lake: LakeWriter, run: RunState, promise: Promise) -> None:
        if promise.is_complete:
            act()
        _commit(lake, run, promise)

    LakeWriter.commit = commit  # type: ignore[assignment, method-assign]


def _kill(*_: object) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


_sweep = LakeWriter._sweep


def _kill_in_the_end(lake: LakeWriter) -> None:
    """Die once the files are published, and before the log says that no work is left."""
    if lake.lake.pending is not None:
        _kill()
    _sweep(lake)


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.2)  # The handler runs in another thread.


def _kill_after_the_commit() -> None:
    LakeWriter._sweep = _kill_in_the_end  # type: ignore[assignment, method-assign]


STEPS: dict[str, Callable[[], None]] = {
    "killed before the last commit": lambda: _at_the_last_commit(_kill),
    "killed after the last commit": _kill_after_the_commit,
    "SIGTERM in the last commit": lambda: _at_the_last_commit(_terminate),
}


def run_altered(step: str) -> None:
    """Run the command line with a step of ``STEPS``."""
    STEPS[step]()
    main()
