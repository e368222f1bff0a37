"""Where datasets live: the local disk, with the few durable operations that the rest needs.

Rules:
1. Names are relative to the root and never leave it.
2. What an operation reports as done has reached the disk: files and directories are fsynced.
3. A file appears whole under its name, or not at all, and never in the place of another.
4. An OSError becomes a StoreError that names the path.
5. A file system without hard links, or without the kernel's file locks, is refused with UsageError:
   nothing else that every system has keeps rule 3, or keeps a second writer out.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from streamlic.errors import DatasetConflict, StoreError, UsageError
from streamlic.storage import locks
from streamlic.storage.dest_paths import check_path
from streamlic.validation import check_text

LOG_DIRECTORY = "_streamlic"
PROBE_PREFIX = ".streamlic-doctor-"
"""What the names of directories begin with in which it is tried whether DEST can be written."""
_LOCK = f"{LOG_DIRECTORY}/lock"
_OWNER = f"{LOG_DIRECTORY}/lock-owner"
_NO_HARD_LINKS = frozenset(
    {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK}
)
"""By what a file system says that it has no hard links: FAT, SMB, and some below FUSE."""
_NO_LOCKS = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL})
"""By what a file system says that it has no locks: Lustre without ``flock``, NFS without lockd."""
_NOT_THE_DISKS = {
    errno.EMFILE: "let this process open more files: ulimit -n",
    errno.ENFILE: "the system has too many files open",
}
_WRITER = re.compile(r"process (?P<process>[0-9]+) on (?P<host>.*)", re.DOTALL)
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/")
_FILE_SUFFIXES = (
    *(".parquet", ".parq", ".pq", ".avro", ".orc", ".arrow", ".feather", ".ipc"),
    *(".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".xml", ".html", ".xls", ".xlsx"),
    *(".gz", ".gzip", ".zst", ".zstd", ".bz2", ".xz", ".lz4", ".br", ".zip", ".tar", ".tgz"),
    *(".db", ".sqlite", ".duckdb"),
)
"""What the names of files end with that somebody may expect to be written."""


class LocalStore:
    """A directory on the local disk. It is created when something is first written."""

    def __init__(self, root: Path | str) -> None:
        if not str(root):
            raise UsageError("expected a directory, got an empty name (DEST)")
        if "\0" in str(root):
            raise UsageError(f"expected a directory, got {str(root)!r} (DEST)")
        check_text(str(root), "DEST")  # Arrow takes no other for a path.
        check_dest(str(root))
        self.root = Path(root)

    def __repr__(self) -> str:
        return f"LocalStore({str(self.root)!r})"

    def path(self, name: str) -> Path:
        """Return the path of ``name``; StoreError if it would leave the root."""
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts or not parts.parts or "\0" in name:
            raise StoreError(f"expected a name inside {self.root}, got {name!r}")
        return self.root / parts

    def why_no_dataset(self) -> str | None:
        """Say why there is nothing to read: no directory, or one without a commit log."""
        with _translated(self.root):
            if not self.root.exists():
                return f"there is no directory {self.root}"
        if not self.names(LOG_DIRECTORY):
            return f"{self.root} is no dataset of streamlic: it has no commit log"
        return None

    def exists(self, name: str) -> bool:
        """Return whether a file or directory of that name is there."""
        with _translated(self.path(name)):
            return self.path(name).exists()

    def names(self, directory: str = "") -> list[str]:
        """Return the names in a directory, sorted; none where it does not exist.

        Probes, which a process that was killed may have left, are nobody's.
        """
        path = self.path(directory) if directory else self.root
        with _translated(path):
            try:
                names = sorted(entry.name for entry in path.iterdir())
            except FileNotFoundError:
                return []
        return [name for name in names if not name.startswith(PROBE_PREFIX)]

    def read(self, name: str) -> bytes:
        """Return a file's content."""
        with _translated(self.path(name)):
            return self.path(name).read_bytes()

    def size(self, name: str) -> int:
        """Return a file's length in bytes."""
        with _translated(self.path(name)):
            return self.path(name).stat().st_size

    def sha256(self, name: str) -> str:
        """Return the SHA-256 of a file's content, in hexadecimal."""
        with _translated(self.path(name)), self.path(name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def make_directory(self, name: str = "") -> None:
        """Create a directory and its parents, durably; one that is there is left alone."""
        path = self.path(name) if name else self.root
        with _translated(path):
            missing = [one for one in (path, *path.parents) if not one.exists()]
            path.mkdir(parents=True, exist_ok=True)
            for one in reversed(missing):
                _sync_directory(one.parent)

    def write_exclusive(self, name: str, data: bytes) -> None:
        """Create a file durably, whole or not at all; StoreError if it is there already.

        After another StoreError the file may be there: only reading can tell.
        """
        path = self.path(name)
        begun = path.with_name(f".{path.name}.{os.getpid()}")
        directory = str(PurePosixPath(name).parent)
        self.make_directory("" if directory == "." else directory)
        with _translated(path):
            try:
                with begun.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                self._link(begun, path)
            finally:
                begun.unlink(missing_ok=True)
            _sync_directory(path.parent)

    def sync(self, name: str) -> None:
        """Make a file that was written elsewhere durable, and its name too."""
        path = self.path(name)
        with _translated(path):
            with path.open("rb") as file:
                os.fsync(file.fileno())
            _sync_directory(path.parent)

    def move(self, source: str, target: str) -> None:
        """Move a file durably; StoreError if something of the target's name is there.

        By a second name, and then without the first: a rename would replace what is there. Where
        a crash left both names, moving once more ends the work.
        """
        old, new = self.path(source), self.path(target)
        with _translated(new):
            try:
                self._link(old, new)
            except FileExistsError:
                if new.is_symlink() or not new.samefile(old):
                    raise
            _sync_directory(new.parent)
            old.unlink()
            _sync_directory(old.parent)

    def delete(self, name: str) -> None:
        """Delete a file durably; one that is gone already is no error."""
        path = self.path(name)
        with _translated(path):
            path.unlink(missing_ok=True)
            if path.parent.exists():
                _sync_directory(path.parent)

    def delete_tree(self, name: str) -> None:
        """Delete a directory and all in it; one that is gone already is no error."""
        path = self.path(name)
        with _translated(path):
            if path.exists():
                shutil.rmtree(path)
                _sync_directory(path.parent)

    def refuse_foreign(self) -> None:
        """Raise DatasetConflict for a directory that holds other files, and no commit log."""
        others = self.names()
        if others and LOG_DIRECTORY not in others:
            raise DatasetConflict(
                f"{self.root} is no dataset of streamlic and holds files already, such as "
                f"{others[0]!r}: choose an empty or new DEST"
            )

    def writer(self) -> str:
        """Say which writer is at work, or may be; empty where none is.

        The kernel's lock is the proof. It can be held on one machine and not be seen on another, on
        a network's file system, so where it is free the owner's file says who may be there.
        """
        owner = self._owner()
        is_held = locks.is_held(self.path(_LOCK))
        if is_held:
            return "a writer is at work" + (f" ({owner})" if owner else "")
        match = _WRITER.fullmatch(owner)
        if not match:
            return ""
        if match["host"] != socket.gethostname():
            return f"{owner} may be at work, on another host: cannot tell whether it lives"
        if is_held is None and locks.is_alive(int(match["process"])):
            return f"a writer is at work ({owner})"
        return ""

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the only writer's lock; DatasetConflict names who holds it.

        The lock is the kernel's, on an open file: it ends with the process, however that ends.
        """
        self.refuse_foreign()
        self.make_directory(LOG_DIRECTORY)
        with _translated(self.path(_LOCK)):
            descriptor = os.open(self.path(_LOCK), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._take_lock(descriptor)
            with suppress(OSError):
                self.path(_OWNER).write_text(f"process {os.getpid()} on {socket.gethostname()}")
            try:
                yield
            finally:
                with suppress(OSError):
                    self.path(_OWNER).unlink(missing_ok=True)
        finally:
            locks.give_back(descriptor)

    def _take_lock(self, descriptor: int) -> None:
        with _translated(self.path(_LOCK)):
            try:
                is_taken = locks.take(descriptor)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                raise UsageError(
                    f"the file system of {self.root} has no file locks (flock: {error.strerror}), "
                    "so that nothing would keep a second writer out: choose a DEST on another "
                    "file system, or mount this one with locks"
                ) from error
        if not is_taken:
            owner = self._owner()
            raise DatasetConflict(
                f"another writer is at work in {self.root}"
                + (f" ({owner})" if owner else "")
                + ": wait for it, or choose another DEST"
            )

    def _owner(self) -> str:
        """Return who held the lock last, as it said itself."""
        with suppress(StoreError):
            return self.read(_OWNER).decode(errors="replace")[:200]
        return ""

    def _link(self, old: Path, new: Path) -> None:
        """Give a file a second name; FileExistsError where something has that name."""
        try:
            os.link(old, new)
        except OSError as error:
            # Linux lets nobody link a file of another user that they may not write (proc(5)).
            is_anothers = error.errno == errno.EPERM and not os.access(old, os.R_OK | os.W_OK)
            if is_anothers or error.errno not in _NO_HARD_LINKS:
                raise
            raise UsageError(
                f"the file system of {self.root} has no hard links ({error.strerror}), without "
                "which a file could take another's place: choose a DEST on another file system, "
                "such as a local disk, and copy the finished dataset from there"
            ) from error


def check_dest(dest: str) -> None:
    """Raise UsageError for a DEST that can be no directory of this machine: a URL, or a file."""
    url = _URL.match(dest)  # With one slash too: that is how pathlib writes a URL.
    if url:
        advice = "object stores and other URLs cannot be written"
        if url["scheme"].lower() == "file":
            advice = "give the path alone"
        raise UsageError(
            f"expected a directory on this machine, got {url['scheme']}://...: {advice} (DEST)"
        )
    check_path(dest)
    if os.path.isdir(dest):  # noqa: PTH112  # it raises for no path whatever
        return
    suffix = PurePosixPath(dest).suffix.lower()
    if suffix in _FILE_SUFFIXES:
        raise UsageError(
            f"expected a directory, got {dest}, which looks like a file: part files are written "
            f"into DEST, so give a name without {suffix} (DEST)"
        )


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise StoreError(f"{path}: something of that name is there already") from error
    except OSError as error:
        reason = error.strerror or str(error)
        advice = _NOT_THE_DISKS.get(error.errno or 0, "is DEST writable, and has the disk room?")
        raise StoreError(f"{path}: {reason} ({advice})") from error
