"""streamlic, except that one step at the end of a run goes otherwise: for a process of its own."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from streamlic.cli.commands import main
from streamlic.dataset.records import Promise
from streamlic.dataset.run_state import RunState
from streamlic.system import signals
from streamlic.tables.base import LakeWriter

STUCK = "stuck"
"""The file in DEST that says that a process is stuck."""
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


def _stuck(lake: LakeWriter, **_: object) -> NoReturn:
    """Keep the main thread in C for ever, where Python's handlers do not run."""
    (Path(lake.store.where()) / STUCK).touch()
    mutex = ctypes.create_string_buffer(256)  # PTHREAD_MUTEX_INITIALIZER is all zeros here.
    lock = ctypes.CDLL(None).pthread_mutex_lock
    lock(mutex)
    lock(mutex)
    raise AssertionError


def _stuck_when_it_opens() -> None:
    signals.SAME_SIGNAL_SECONDS = 0.1
    LakeWriter.open = _stuck  # type: ignore[assignment, method-assign]


def _kill_after_the_commit() -> None:
    LakeWriter._sweep = _kill_in_the_end  # type: ignore[assignment, method-assign]


STEPS: dict[str, Callable[[], None]] = {
    "killed before the last commit": lambda: _at_the_last_commit(_kill),
    "killed after the last commit": _kill_after_the_commit,
    "stuck in C": _stuck_when_it_opens,
    "SIGTERM in the last commit": lambda: _at_the_last_commit(_terminate),
}


def run_altered(step: str) -> None:
    """Run the command line with a step of ``STEPS``."""
    STEPS[step]()
    main()
