"""Files on the local disk, with the durable operations that a store promises.

Rules:
1. An operation that returns has reached the disk: files and directories are fsynced.
2. A file gets its name by a hard link, which never replaces another file; a rename would.
3. An OSError becomes a StoreError that names the path.
4. A file system without hard links, or without the kernel's file locks, is refused with UsageError:
   no other call that every system has keeps rule 2, or keeps out a second writer.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path, PurePosixPath

from streamlic.errors import StoreError, UsageError
from streamlic.storage import locks
from streamlic.storage.base import AlreadyExists, LockHeld, NotFound
from streamlic.storage.dest_paths import check_directory
from streamlic.system.process import this_process
from streamlic.validation import check_text

PROBE_PREFIX = ".streamlic-doctor-"
"""How the names of the directories start in which ``doctor`` tries to write."""
_NO_HARD_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK}
"""The errors of a file system without hard links: FAT, SMB, and some on FUSE."""
_NO_LOCKS = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL})
"""The errors of a file system without locks: Lustre without ``flock``, NFS without lockd."""
_NOT_THE_DISKS = {
    errno.EMFILE: "let this process open more files: ulimit -n",
    errno.ENFILE: "the system has too many files open",
    errno.EXDEV: "a directory of a table is on another disk: all of a lake has to be on one",
}
_TRIES = 3
_WRITER = re.compile(r"process (?P<process>[0-9]+) on (?P<host>.*)", re.DOTALL)


class LocalStore:
    """A directory on the local disk. The first write creates it."""

    def __init__(self, root: Path | str) -> None:
        if not str(root):
            raise UsageError("expected a directory, got an empty name", parameter="dest")
        if "\0" in str(root):
            raise UsageError(f"expected a directory, got {str(root)!r}", parameter="dest")
        check_text(str(root), "dest")  # Arrow takes no other for a path.
        check_directory(str(root))
        self.root = Path(root)

    def __repr__(self) -> str:
        return f"LocalStore({str(self.root)!r})"

    def path(self, name: str) -> Path:
        """Return the path of ``name``; StoreError if it would leave the root."""
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts or not parts.parts or "\0" in name:
            raise StoreError(f"expected a name inside {self.root}, got {name!r}")
        return self.root / parts

    def where(self, name: str = "") -> str:
        """Return the full name of a file, or of the store itself, for messages."""
        return str(self.path(name) if name else self.root)

    def exists(self, name: str) -> bool:
        """Return whether a file has this name."""
        with _translated(self.path(name), reads=True):
            return self.path(name).is_file()

    def storage_options(self) -> dict[str, str]:
        """Return nothing: a path says it all."""
        return {}

    def names(self, directory: str = "", *, after: str = "") -> list[str]:
        """Return the names in a directory that follow ``after``, sorted; none if it is absent.

        The directories of ``doctor``, which a killed process may have left, are skipped.
        """
        path = self.path(directory) if directory else self.root
        with _translated(path, reads=True):
            try:
                names = sorted(entry.name for entry in path.iterdir())
            except FileNotFoundError:
                return []
        return [name for name in names if name > after and not name.startswith(PROBE_PREFIX)]

    def read(self, name: str) -> bytes:
        """Return a file's content; NotFound if it is absent."""
        with _translated(self.path(name), reads=True):
            return self.path(name).read_bytes()

    def read_each(self, names: Iterable[str]) -> Iterator[bytes]:
        """Yield the content of each file, in order."""
        return map(self.read, names)

    def open(self, name: str) -> BufferedReader:
        """Open a file for reading and seeking; NotFound if it is absent."""
        with _translated(self.path(name), reads=True):
            return self.path(name).open("rb")

    def make_directory(self, name: str = "") -> None:
        """Create a directory and its parents, durably, if they are absent."""
        path = self.path(name) if name else self.root
        with _translated(path):
            missing = [one for one in (path, *path.parents) if not one.exists()]
            path.mkdir(parents=True, exist_ok=True)
            for one in reversed(missing):
                _sync_directory(one.parent)

    def create(self, name: str, data: bytes) -> None:
        """Create a file durably, complete or not at all; AlreadyExists if one has this name."""
        path = self.path(name)
        directory = str(PurePosixPath(name).parent)
        self.make_directory("" if directory == "." else directory)
        with _translated(path):
            for attempt in range(_TRIES):
                # Not by the process's number: containers that share a disk may have the same.
                partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
                try:
                    self._create(partial, path, data)
                    break
                except FileNotFoundError:  # Another writer takes it for one of a dead writer.
                    if attempt == _TRIES - 1 or partial.exists():
                        raise
                finally:
                    partial.unlink(missing_ok=True)
            _sync_directory(path.parent)

    def stage(self, name: str) -> LocalFile:
        """Return a new file of this name, to be written in its prepared directory."""
        return LocalFile(self, name)

    def publish(self, files: Sequence[tuple[str, str]]) -> None:
        """Give staged files their final names, durably; see ``Store.publish``.

        All get their final names first, one system call each: a reader that lists the directory
        meanwhile sees some of them. Then they lose the other ones. A crash between leaves both, and
        the next call finishes.
        """
        paths = [(self.path(staged), self.path(name)) for staged, name in files]
        for directory in dict.fromkeys(str(PurePosixPath(name).parent) for _, name in files):
            self.make_directory("" if directory == "." else directory)
        for old, new in paths:
            with _translated(new):
                self._link_staged(old, new)
        _sync_directories(new.parent for _, new in paths)
        for old, _ in paths:
            with _translated(old):
                old.unlink(missing_ok=True)
        _sync_directories(old.parent for old, _ in paths)

    def delete(self, *names: str) -> None:
        """Delete files durably, those that exist."""
        paths = [self.path(name) for name in names]
        for path in paths:
            with _translated(path):
                path.unlink(missing_ok=True)
        _sync_directories(path.parent for path in paths)

    def delete_tree(self, name: str) -> None:
        """Delete a directory and everything in it, if it exists."""
        path = self.path(name)
        with _translated(path):
            if path.exists():
                shutil.rmtree(path)
                _sync_directory(path.parent)

    def give_up(self) -> None:
        """Nothing waits: a lock is free, or another writer's."""

    def writer(self, name: str) -> str:
        """Describe the writer that has this lock, or may have it; empty if none does.

        The kernel's lock is the proof. On a network's file system one machine may hold it and
        another not see it: so where it is free, the owner's file says who may be writing.
        """
        owner = self._owner(name)
        is_held = locks.is_held(self.path(name))
        if is_held:
            return "a writer is active" + (f" ({owner})" if owner else "")
        match = _WRITER.fullmatch(owner)
        if not match:
            return ""
        if match["host"] != socket.gethostname():
            return f"{owner} may be active, on another host: cannot tell whether it is alive"
        if is_held is None and locks.is_alive(int(match["process"])):
            return f"a writer is active ({owner})"
        return ""

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Be the only writer while the context lasts; DatasetConflict names another one.

        The lock is the kernel's, on an open file: it ends with the process, however that ends.
        """
        path, owner = self.path(name), self.path(_owner_of(name))
        self.make_directory(str(PurePosixPath(name).parent))
        with _translated(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._take_lock(descriptor, name)
            with suppress(OSError):
                owner.write_text(this_process())
            try:
                yield
            finally:
                with suppress(OSError):
                    owner.unlink(missing_ok=True)
        finally:
            locks.give_back(descriptor)

    def _take_lock(self, descriptor: int, name: str) -> None:
        with _translated(self.path(name)):
            try:
                is_taken = locks.take(descriptor)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                raise UsageError(
                    f"the file system of {self.root} has no file locks (flock: {error.strerror}), "
                    "and nothing else keeps out a second writer",
                    advice="choose a {dest} on another file system, or mount this one with locks",
                ) from error
        if not is_taken:
            owner = self._owner(name)
            raise LockHeld(
                f"another writer is active in {self.root}" + (f" ({owner})" if owner else ""),
                advice="wait for it, or choose another {dest}",
            )

    def _owner(self, name: str) -> str:
        """Return the last holder of the lock, as it described itself."""
        with suppress(StoreError):
            return self.read(_owner_of(name)).decode(errors="replace")[:200]
        return ""

    def _create(self, partial: Path, path: Path, data: bytes) -> None:
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            self._link(partial, path)
        except FileExistsError:
            # NFS sends a request again whose answer was lost, and the second one fails (link(2)).
            if not (partial.exists() and path.samefile(partial)):
                raise

    def _link_staged(self, old: Path, new: Path) -> None:
        """Give a staged file its final name too, unless it has it."""
        try:
            self._link(old, new)
        except FileNotFoundError:
            if not new.is_file():
                raise NotFound(f"neither {old} nor {new} exists") from None
        except FileExistsError:
            if new.is_symlink() or not (old.exists() and new.samefile(old)):
                raise

    def _link(self, old: Path, new: Path) -> None:
        """Give a file a second name; FileExistsError if that name is taken."""
        try:
            os.link(old, new)
        except OSError as error:
            # Linux refuses a link to a file of another user that one may not write (proc(5)).
            is_anothers = error.errno == errno.EPERM and not os.access(old, os.R_OK | os.W_OK)
            if is_anothers or error.errno not in _NO_HARD_LINKS:
                raise
            raise UsageError(
                f"the file system of {self.root} has no hard links ({error.strerror}), without "
                "which one file could replace another",
                advice="choose a {dest} on another file system, such as a local disk, and copy "
                "the finished dataset from there",
            ) from error


@dataclass(frozen=True)
class LocalFile:
    """A file that is written where the store keeps it."""

    store: LocalStore
    name: str

    @property
    def path(self) -> Path:
        """Where to write it."""
        return self.store.path(self.name)

    @property
    def advice(self) -> str:
        """Nothing: the place is the user's own, and the message names it."""
        return ""

    def keep(self) -> None:
        """Make it and its name durable."""
        with _translated(self.path):
            with self.path.open("rb") as file:
                os.fsync(file.fileno())
            _sync_directory(self.path.parent)

    def wait(self) -> None:
        """It is durable since ``keep``."""

    def discard(self) -> None:
        """Delete it."""
        self.store.delete(self.name)


def _owner_of(name: str) -> str:
    return f"{name}-owner"


def _sync_directories(paths: Iterable[Path]) -> None:
    """Make the names in directories durable, those that exist."""
    for path in dict.fromkeys(paths):
        with _translated(path):
            if path.exists():
                _sync_directory(path)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translated(path: Path, *, reads: bool = False) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise AlreadyExists(f"{path} already exists") from error
    except OSError as error:
        reason = error.strerror or str(error)
        advice = _NOT_THE_DISKS.get(
            error.errno or 0, "" if reads else "is it writable, and has the disk room?"
        )
        kind = NotFound if isinstance(error, FileNotFoundError) else StoreError
        raise kind(f"{path}: {reason}" + (f" ({advice})" if advice else "")) from error
