"""Part files on their way from scratch to an object store, while the next one is written.

Rules:
1. One upload at a time: handing over a file waits for the one before. So scratch holds the files in
   progress and one more, and memory the parts of one upload.
2. An object appears complete or not at all. An upload that was stopped may leave parts that no
   reader sees; a rule of the bucket deletes them.
3. A file counts as uploaded only if obstore said so. Whatever else ends an upload is a failure.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError

from streamlic.errors import StoreError
from streamlic.storage.attempts import attempts
from streamlic.storage.cloud_errors import FOREIGN, Place, explained, is_broken
from streamlic.storage.credentials import Client
from streamlic.storage.scratch import ADVICE
from streamlic.storage.scratch import explained as explained_scratch

_MIB = 1 << 20
_LARGE_CHUNK = 8 * _MIB
_SMALL_CHUNK = 5 * _MIB
"""The least that S3 takes as a part, unless it is the last one."""
_IN_ADDITION = 2
"""Chunks in memory in addition to those in flight: measured."""
_MOST_AT_ONCE = 4
"""More are not faster."""


@dataclass(frozen=True)
class UploadSizes:
    """How a file is cut for its upload."""

    chunk_bytes: int
    at_once: int

    @staticmethod
    def within(memory_bytes: int) -> UploadSizes:
        """Return the sizes that take this much memory, or the least possible."""
        at_once = memory_bytes // _LARGE_CHUNK - _IN_ADDITION
        if at_once < 1:
            return UploadSizes(_SMALL_CHUNK, 1)
        return UploadSizes(_LARGE_CHUNK, min(at_once, _MOST_AT_ONCE))


class Uploads:
    """The uploads of one store, one at a time."""

    def __init__(self, client: Client, sizes: UploadSizes) -> None:
        self.client = client
        self.sizes = sizes
        self._last: _Upload | None = None
        self._lock = threading.Lock()

    def start(self, path: Path, name: str, place: Place) -> _Upload:
        """Start to upload a file, after the one before has ended."""
        with self._lock:
            if self._last is not None:
                self._last.ended.wait()
            upload = _Upload(self, path, name, place)
            # Not a daemon: Python must not end while obstore returns into it.
            thread = threading.Thread(target=upload.run, name="streamlic-upload")
            try:
                thread.start()
            except RuntimeError as error:
                raise StoreError(f"{place.name}: cannot upload it: {error}") from error
            self._last = upload
            return upload


@dataclass
class _Upload:
    """One upload, in a thread of its own."""

    uploads: Uploads
    path: Path
    name: str
    place: Place
    ended: threading.Event = field(default_factory=threading.Event)
    is_done: bool = False
    failure: StoreError | None = None
    _stop: Callable[[], Any] | None = None
    _stopped: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """Upload the file, and note how that ended."""
        try:
            with explained_scratch(self.path):
                self.path.stat()  # It may have been deleted: obstore's error names the object.
            for attempt in attempts(self._stopped.wait):
                try:
                    with suppress(asyncio.CancelledError):
                        asyncio.run(self._uploaded())
                    break
                except BaseError as error:
                    if attempt.is_last or not is_broken(error):
                        raise
        except StoreError as error:
            self.failure = error
        except FOREIGN as error:
            self.failure = explained(error, "write", self.place)
            self.failure.__cause__ = error
        except BaseException as error:  # noqa: BLE001  (a panic in obstore, memory that is full)
            # Not its text, which may have a URL.
            kind = type(error).__name__
            self.failure = StoreError(f"{self.place.name}: could not write it ({kind})")
        finally:
            self.ended.set()

    def stop(self) -> None:
        """End it soon: an upload in parts at once, of whose parts no reader sees any."""
        with self._lock:
            self._stopped.set()
            if self._stop is not None:
                self._stop()
        self.ended.wait()

    async def _uploaded(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101  (it runs in one)
        with self._lock:
            if self._stopped.is_set():
                return
            # A single request may be carried out after it was given up, and after a deletion.
            if self.path.stat().st_size > self.uploads.sizes.chunk_bytes:
                self._stop = lambda: loop.call_soon_threadsafe(task.cancel)
        try:
            await obstore.put_async(
                self.uploads.client,
                self.name,
                self.path,
                chunk_size=self.uploads.sizes.chunk_bytes,
                max_concurrency=self.uploads.sizes.at_once,
            )
            self.is_done = True
        finally:
            with self._lock:
                self._stop = None


class ScratchFile:
    """A file that is written in scratch, and then uploaded."""

    def __init__(
        self,
        path: Path,
        upload: Callable[[], _Upload],
        delete: Callable[[], None],
        delete_object: Callable[[], None],
    ) -> None:
        self._path = path
        self._start = upload
        self._delete = delete
        self._delete_object = delete_object
        self._upload: _Upload | None = None

    @property
    def path(self) -> Path:
        """Where to write it."""
        return self._path

    @property
    def advice(self) -> str:
        """What helps if scratch is full."""
        return ADVICE

    def keep(self) -> None:
        """Start its upload, after the one before has ended."""
        self._upload = self._start()

    def wait(self) -> None:
        """Wait until it is durable in the store, and delete it here."""
        if self._upload is None:
            return
        self._upload.ended.wait()
        if self._upload.failure is not None:
            raise self._upload.failure
        if not self._upload.is_done:
            raise StoreError(f"{self._upload.place.name}: its upload was stopped")
        self._delete()

    def discard(self) -> None:
        """Stop its upload, and delete it here and in the store."""
        if self._upload is not None:
            self._upload.stop()
        self._delete()
        if self._upload is not None:
            self._delete_object()
            self._upload = None
