"""Files on this machine, on their way to an object store.

Rules:
1. Each store has a directory of its own, with a locked file in it. What no process has locked was
   left by one that died, and is deleted when the next one starts.
2. It is not a state: no run resumes from it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

from streamlic.errors import StoreError

PREFIX = "streamlic-scratch-"
_LOCK = "lock"
_NEW_SECONDS = 60
"""How long a directory without a lock may be one that a process has just created."""
ADVICE = "choose a directory with more room as {scratch}"


class Scratch:
    """A directory for files in progress. The first file creates it, the last one deletes it."""

    def __init__(self, place: str | None) -> None:
        self._place = place
        self._numbers = count(1)
        self._paths: set[Path] = set()
        self._remove: weakref.finalize[Any, Any] | None = None
        self._directory = Path()
        self._lock = threading.Lock()

    def path(self, name: str) -> Path:
        """Return a new path for a file of this name. End its use with ``delete``."""
        with self._lock:
            if self._remove is None:
                place = scratch_place(self._place)
                with explained(place):
                    place.mkdir(parents=True, exist_ok=True)
                    _sweep(place)
                    self._directory, descriptor = _created(place)
                self._remove = weakref.finalize(
                    self, _removed, self._directory, descriptor, os.getpid()
                )
            path = self._directory / f"{next(self._numbers):06}-{PurePosixPath(name).name}"
            self._paths.add(path)
            return path

    def delete(self, path: Path) -> None:
        """Delete a file, if it still exists."""
        with self._lock, explained(path):
            path.unlink(missing_ok=True)
            self._paths.discard(path)
            if not self._paths and self._remove is not None:
                self._remove()
                self._remove = None


def scratch_place(place: str | None) -> Path:
    """Return the directory for files in progress; None is the system's own for temporary files.

    Raises StoreError if the system has none that can be written.
    """
    if place:
        return Path(place)
    try:
        return Path(tempfile.gettempdir())
    except OSError as error:
        raise StoreError(
            f"this system has no directory for temporary files: {error.strerror or error}",
            advice="choose a directory that can be written as {scratch}",
        ) from error


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Raise StoreError, which names the directory and the option, for an error of the disk."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise StoreError(
            f"{path}: {error.strerror or error}, where part files are written before they are "
            "uploaded",
            advice=ADVICE if full else "choose a directory that can be written as {scratch}",
        ) from error


def _created(place: Path) -> tuple[Path, int]:
    """Create a directory and lock it. A sweep may be faster, and delete it: then create another."""
    while True:
        directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        with suppress(FileNotFoundError, BlockingIOError):
            lock = directory / _LOCK
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(descriptor), lock.stat()):
                    return directory, descriptor
            except OSError:
                os.close(descriptor)
                raise
            os.close(descriptor)


def _sweep(place: Path) -> None:
    """Delete the directories of processes that died."""
    for directory in place.glob(f"{PREFIX}*"):
        # Another user's cannot be deleted, and another sweep may be at it too.
        with suppress(OSError):
            _delete_left(directory)


def _delete_left(directory: Path) -> None:
    """Delete a directory unless its process lives. BlockingIOError if it does."""
    try:
        descriptor = os.open(directory / _LOCK, os.O_RDWR)
    except FileNotFoundError:
        if time.time() - directory.stat().st_mtime > _NEW_SECONDS:
            shutil.rmtree(directory)
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(directory)
    finally:
        os.close(descriptor)


def _removed(directory: Path, descriptor: int, process: int) -> None:
    """Delete a directory, unless this is a fork of the process that uses it."""
    if os.getpid() == process:
        shutil.rmtree(directory, ignore_errors=True)
    os.close(descriptor)
