"""streamlic, except that one step at the end of a run goes otherwise: for a process of its own."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any, NoReturn

from streamlic.cli.commands import main
from streamlic.storage.local import LocalStore
from streamlic.tables.parquet import ParquetTable

_commit = ParquetTable.commit


def _at_the_last_commit(act: Callable[[], None]) -> None:
    def commit(*given: Any, is_complete: bool, **more: Any) -> None:
        if is_complete:
            act()
        _commit(*given, is_complete=is_complete, **more)

    ParquetTable.commit = commit  # type: ignore[method-assign]


def _kill(*_: object) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.2)  # The handler runs in another thread.


def _kill_after_the_commit() -> None:
    LocalStore.delete_tree = _kill  # type: ignore[assignment, method-assign]


STEPS: dict[str, Callable[[], None]] = {
    "killed before the last commit": lambda: _at_the_last_commit(_kill),
    "killed after the last commit": _kill_after_the_commit,
    "SIGTERM in the last commit": lambda: _at_the_last_commit(_terminate),
}


def run_altered(step: str) -> None:
    """Run the command line with a step of ``STEPS``."""
    STEPS[step]()
    main()
