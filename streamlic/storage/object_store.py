"""Files in an object store: S3 and what speaks its protocol, Google Cloud Storage, Azure.

Rules:
1. An object exists complete or not at all, and no condition but the service's own keeps two writers
   apart: a service that ignores conditions is refused before the first write.
2. Publishing is a copy in the service, and then the deletion of the staged object. An object that
   has the final name already is compared, byte by byte where need be, and never replaced.
3. Errors are translated in ``cloud_errors``: no message has a URL.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from io import BufferedReader
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import obstore

from streamlic.errors import StoreError
from streamlic.storage import conditional
from streamlic.storage.azure_copies import await_copy, start_copy
from streamlic.storage.base import AlreadyExists, NotFound
from streamlic.storage.cloud_errors import Place, translated
from streamlic.storage.credentials import Clients, storage_options
from streamlic.storage.dest_urls import DestUrl
from streamlic.storage.lease import LEASE_SECONDS, LeasedObject
from streamlic.storage.local import PROBE_PREFIX
from streamlic.storage.probe import check_conditions
from streamlic.storage.range_reader import BUFFER_BYTES, buffered
from streamlic.storage.scratch import Scratch
from streamlic.storage.uploads import ScratchFile, Uploads, UploadSizes

if TYPE_CHECKING:
    from obstore.store import RetryConfig

_AT_ONCE = 16
"""Requests at once, where one after the other would wait for the network."""


class ObjectStore:
    """Part of a bucket."""

    def __init__(
        self,
        url: DestUrl,
        *,
        scratch: str | None = None,
        upload_bytes: int,
        takes_over: bool = False,
        lease_seconds: float = LEASE_SECONDS,
        retries: RetryConfig | None = None,
    ) -> None:
        self.url = str(url)
        """The place, as other libraries take it; without credentials."""
        self._url = url
        self._clients = Clients.of(url, retries)
        self._scratch = Scratch(scratch)
        self._uploads = Uploads(self._clients.large, UploadSizes.within(upload_bytes))
        self._takes_over = takes_over
        self._lease_seconds = lease_seconds
        self._is_probed = False
        self._given_up = threading.Event()

    def __repr__(self) -> str:
        return f"ObjectStore({self.url!r})"

    def storage_options(self) -> dict[str, str]:
        """Return what other libraries need to reach this place; it holds secrets."""
        return storage_options(self._url)

    def where(self, name: str = "") -> str:
        """Return the full name of a file, or of the store itself, for messages."""
        return f"{self.url}/{self._key(name)}" if name else self.url

    def exists(self, name: str) -> bool:
        """Return whether a file has this name."""
        try:
            self._size(name)
        except NotFound:
            return False
        return True

    def names(self, directory: str = "", *, after: str = "") -> list[str]:
        """Return the names in a directory that follow ``after``, sorted; none if it is absent."""
        prefix = self._key(directory) if directory else ""
        start = f"{prefix}/" if prefix else ""
        with translated("list", self._place(directory)):
            if after:
                # With a delimiter no service takes a start.
                listed = obstore.list(self._clients.small, prefix or None, offset=start + after)
                paths = [one["path"] for chunk in listed for one in chunk]
            else:
                found = obstore.list_with_delimiter(self._clients.small, prefix or None)
                paths = [*found["common_prefixes"], *(one["path"] for one in found["objects"])]
        # An object that ends with a slash marks a directory: some tools create those.
        # Its name here is empty, and not greater than any.
        names = {path[len(start) :].partition("/")[0] for path in paths}
        return sorted(name for name in names if name > after and not name.startswith(PROBE_PREFIX))

    def read(self, name: str) -> bytes:
        """Return a file's content; NotFound if it is absent."""
        with translated("read", self._place(name)):
            return bytes(obstore.get(self._clients.small, self._key(name)).bytes())

    def read_each(self, names: Iterable[str]) -> Iterator[bytes]:
        """Yield the content of each file, in order; some are read ahead."""
        rest = iter(names)
        with ThreadPoolExecutor(_AT_ONCE, "streamlic-read") as threads:
            reads = deque(threads.submit(self.read, name) for name in islice(rest, _AT_ONCE))
            try:
                while reads:
                    data = reads.popleft().result()
                    reads.extend(threads.submit(self.read, name) for name in islice(rest, 1))
                    yield data
            finally:
                _cancel(reads)

    def open(self, name: str) -> BufferedReader:
        """Open a file for reading and seeking; NotFound if it is absent."""
        key, place = self._key(name), self._place(name)

        def read(start: int, end: int) -> memoryview:
            with translated("read", place):
                piece = memoryview(
                    obstore.get_range(self._clients.large, key, start=start, end=end)
                )
            if len(piece) != end - start:
                raise StoreError(
                    f"{place.name}: expected {end - start:,} bytes, got {len(piece):,}"
                )
            return piece

        return buffered(read, self._size(name))

    def create(self, name: str, data: bytes) -> None:
        """Create a file; AlreadyExists if one has this name, unless it holds the same bytes."""
        conditional.create(self._clients.small, self._key(name), data, self._place(name))

    def make_directory(self, name: str) -> None:
        """Do nothing: there are no directories."""

    def stage(self, name: str) -> ScratchFile:
        """Return a new file in scratch, which is uploaded when it is kept."""
        key, place = self._key(name), self._place(name)
        path = self._scratch.path(name)
        return ScratchFile(
            path,
            lambda: self._uploads.start(path, key, place),
            lambda: self._scratch.delete(path),
            lambda: self.delete(name),
        )

    def publish(self, files: Sequence[tuple[str, str]]) -> None:
        """Give staged files their final names, several at once; see ``Store.publish``.

        All get their final names first. Then they lose the other ones.
        """
        self._each(lambda pair: self._copy(*pair), files)
        self.delete(*(staged for staged, _ in files))

    def delete(self, *names: str) -> None:
        """Delete files, those that exist."""
        self._delete([self._key(name) for name in names])

    def delete_tree(self, directory: str) -> None:
        """Delete everything in a directory, if there is anything."""
        place = self._place(directory)
        listed = iter(obstore.list(self._clients.small, self._key(directory), chunk_size=1000))
        while True:
            with translated("list", place):
                chunk = next(listed, None)
            if chunk is None:
                return
            self._delete([one["path"] for one in chunk])

    def give_up(self) -> None:
        """End the wait for a lease, in whichever thread: it raises DatasetConflict."""
        self._given_up.set()

    def writer(self, name: str) -> str:
        """Describe the writer that has this lease, or may have it; empty if none does."""
        return self._lease(name).writer()

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Be the only writer while the context lasts; DatasetConflict names another one."""
        self.check_conditions()
        with self._lease(name).held():
            yield

    def check_conditions(self) -> None:
        """Raise UsageError for a service that ignores conditions: two writers could meet there."""
        if self._is_probed:
            return
        try:
            # A refusal comes soon: obstore asks again also what a store does not know.
            check_conditions(self._clients.lease, self._place(""))
        except StoreError:
            check_conditions(self._clients.small, self._place(""))
        self._is_probed = True

    def _lease(self, name: str) -> LeasedObject:
        return LeasedObject(
            self._clients,
            self._key(name),
            self._place(""),
            self._lease_seconds,
            self._takes_over,
            self._given_up,
        )

    def _key(self, name: str) -> str:
        """Return the key of ``name`` below the prefix; StoreError if it would leave the store."""
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts or not parts.parts or "\0" in name:
            raise StoreError(f"expected a name inside {self.url}, got {name!r}")
        return str(parts)

    def _place(self, name: str) -> Place:
        return Place(self._url.service, self._url.bucket, self.where(name))

    def _size(self, name: str) -> int:
        key = self._key(name)
        with translated("read", self._place(name)):
            return int(obstore.head(self._clients.small, key)["size"])

    def _copy(self, staged: str, final: str) -> None:
        """Copy a staged file to its final name, unless it has that already."""
        old, new = self._key(staged), self._key(final)
        is_azure = self._url.service == "az"
        if self.exists(final):
            if not self.exists(staged) or self._are_equal(staged, final):
                return
            if not is_azure or self._size(final):
                raise AlreadyExists(f"{self.where(final)} already exists")
            # A copy that is pending, or has failed: see ``azure_copies``.
        try:
            if is_azure:
                start_copy(self._clients.large, old, new, self._place(final))
                await_copy(self._size, staged, final, self._place(final))
            else:
                with translated("copy", self._place(final)):
                    obstore.copy(self._clients.large, old, new)
        except NotFound:
            # Another writer may have published it a moment ago.
            if not self.exists(final):
                raise NotFound(
                    f"neither {self.where(staged)} nor {self.where(final)} exists"
                ) from None

    def _are_equal(self, one: str, other: str) -> bool:
        with self.open(one) as left, self.open(other) as right:
            while piece := left.read(BUFFER_BYTES):
                if piece != right.read(BUFFER_BYTES):
                    return False
            return not right.read(1)

    def _delete(self, keys: Sequence[str]) -> None:
        if not keys:
            return
        with translated("delete", self._place("")):
            try:
                obstore.delete(self._clients.small, keys if len(keys) > 1 else keys[0])
            except FileNotFoundError:
                are_gone = len(keys) == 1
            else:
                are_gone = True
        if not are_gone:
            # Azure and Google refuse to delete what is gone, and may have deleted others or not.
            self._each(lambda key: self._delete([key]), keys)

    def _each(self, act: Callable[[Any], None], items: Sequence[Any]) -> None:
        """Do something for each, several at once; raise the first error when all have ended."""
        if len(items) < 2:
            for item in items:
                act(item)
            return
        with ThreadPoolExecutor(min(_AT_ONCE, len(items)), "streamlic-store") as threads:
            done = [threads.submit(act, item) for item in items]
        for one in done:
            one.result()


def _cancel(futures: Iterable[Future[Any]]) -> None:
    for one in futures:
        one.cancel()
