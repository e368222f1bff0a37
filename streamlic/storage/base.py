"""What a place for files must offer: a few durable operations, and nothing of tables.

Rules:
1. Names are relative, with ``/`` between their parts, and stay inside the store.
2. An operation that returns is durable. One that raises StoreError may have done its work or not:
   only a look at the store can say.
3. A file appears under its name complete, or not at all. No operation replaces a file.
4. ``publish``, ``delete`` and ``delete_tree`` can be repeated: a second call finishes the work of
   the first one, and does nothing if none is left.
5. A directory exists while it holds a file. Only local disks, and some services for a while, have
   empty ones, and no caller may depend on them.
6. A call that creates a file may be sent again, because its answer was lost. So where answers are
   lost, a file that holds the same bytes is the caller's own: callers create unique bytes.
7. Every error is a StoreError, or a UsageError for a store that cannot keep these rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from io import BufferedReader
from pathlib import Path
from typing import Protocol

from streamlic.errors import RETRY_CAN_HELP, DatasetConflict, StoreError


class NotFound(StoreError):
    """No file has this name."""


class AlreadyExists(StoreError):
    """A file has this name already."""


class LockHeld(DatasetConflict):
    """Another writer holds the lock. A retry can help: that one ends, or dies."""

    exit_code = RETRY_CAN_HELP


class StagedFile(Protocol):
    """A file that is written on this machine and then handed over to the store."""

    @property
    def path(self) -> Path:
        """Where to write it, on this machine."""

    @property
    def advice(self) -> str:
        """What helps if it cannot be written there, as in ``StreamlicError.advice``."""

    def keep(self) -> None:
        """Hand it over, complete. It may take a while to be durable: see ``wait``."""

    def wait(self) -> None:
        """Wait until it is durable in the store, under its name. Raises what prevented that."""

    def discard(self) -> None:
        """Delete it, on this machine and in the store."""


class Store(Protocol):
    """A place for files: a directory, or part of a bucket."""

    def where(self, name: str = "") -> str:
        """Return the full name of a file, or of the store itself, for messages."""

    def storage_options(self) -> dict[str, str]:
        """Return what other libraries need to reach this place, by names of the environment.

        It holds secrets, and those may be valid for a while only: ask again for each use.
        """

    def names(self, directory: str = "", *, after: str = "") -> list[str]:
        """Return the names in a directory, sorted, of directories too; none if it is absent.

        ``after`` leaves out the names that are not greater than it.
        """

    def exists(self, name: str) -> bool:
        """Return whether a file has this name."""

    def read(self, name: str) -> bytes:
        """Return a file's content; NotFound if it is absent."""

    def read_each(self, names: Iterable[str]) -> Iterator[bytes]:
        """Yield the content of each file, in order; a store that is far away reads ahead."""

    def open(self, name: str) -> BufferedReader:
        """Open a file for reading and seeking; NotFound if it is absent.

        On a local disk, what is open stays readable while the file is published or deleted. From
        an object store it is read piece by piece, and then raises NotFound.
        """

    def create(self, name: str, data: bytes) -> None:
        """Create a file; AlreadyExists if one has this name, also where two writers race.

        For files with the same bytes see rule 6.
        """

    def make_directory(self, name: str) -> None:
        """Prepare a directory for staged files. A store without directories does nothing."""

    def stage(self, name: str) -> StagedFile:
        """Return a new file of this name, to be written on this machine.

        Its directory must be prepared: so a store that vanished meanwhile is noticed.
        """

    def publish(self, files: Sequence[tuple[str, str]]) -> None:
        """Give staged files their final names, in order, in as short a time as possible.

        Each is given as its staged name and its final one. There is nothing to do where only the
        final one exists. Raises AlreadyExists if another file has that name, NotFound if there is
        neither.
        """

    def delete(self, *names: str) -> None:
        """Delete files, in as short a time as possible."""

    def delete_tree(self, directory: str) -> None:
        """Delete a directory and everything in it."""

    def lock(self, name: str) -> AbstractContextManager[None]:
        """Be the only writer while the context lasts; DatasetConflict names another one.

        A process that dies, in whatever way, must not keep the lock for long. On an object store it
        is a lease, which a writer that was stopped may lose unseen: the commit log keeps that one
        out.
        """

    def give_up(self) -> None:
        """End the wait for a lock, in whichever thread: it raises DatasetConflict."""

    def writer(self, name: str) -> str:
        """Describe the writer that has this lock, or may have it; empty if none does."""
