"""Kills this process before or after one of the steps that change a local lake.

What a library does below Python is one step: a commit of deltalake's.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest import mock

from streamlic.storage.local import LocalFile


class Steps:
    """Counts steps from 1, and kills the process at one of them; 0 kills at none."""

    def __init__(self, number: int, when: str) -> None:
        self.count = 0
        self._number = number
        self._when = when

    def counted(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that is a step."""

        @wraps(work)
        def step(*args: Any, **given: Any) -> Any:
            self.count += 1
            is_it = self.count == self._number
            if is_it and self._when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return work(*args, **given)
            finally:
                if is_it:
                    os.kill(os.getpid(), signal.SIGKILL)

        return step


def _places() -> list[tuple[Any, str]]:
    """Return all functions by which a local lake is changed."""
    places: list[tuple[Any, str]] = [
        (os, "link"),
        (os, "unlink"),
        (os, "mkdir"),
        (LocalFile, "keep"),
    ]
    if "deltalake" in sys.modules:
        from deltalake import DeltaTable

        places += [(DeltaTable, "create"), (DeltaTable, "create_write_transaction")]
    if "pyiceberg" in sys.modules:
        from pyiceberg.catalog.sql import SqlCatalog
        from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

        places += [
            (PyArrowFile, "create"),
            (PyArrowFileIO, "delete"),
            (SqlCatalog, "commit_table"),
            (SqlCatalog, "create_namespace"),
        ]
    return places


@contextmanager
def stepped(steps: Steps | None) -> Iterator[None]:
    """Count what changes a local lake while the context lasts; then print the count."""
    if steps is None:
        yield
        return
    with ExitStack() as stack:
        for owner, name in _places():
            stack.enter_context(mock.patch.object(owner, name, steps.counted(getattr(owner, name))))
        yield
    print(steps.count)
