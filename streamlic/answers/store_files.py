"""The files of a store for libraries that read through fsspec."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from io import BufferedReader
from typing import Any, ClassVar

from fsspec import AbstractFileSystem

from streamlic.storage.base import Store


class StoreFiles(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A store's files, for reading only, as ``lake://NAME``. ``sizes`` are theirs, in bytes."""

    protocol: ClassVar[str] = "lake"
    cachable = False

    def __init__(self, store: Store, sizes: Mapping[str, int]) -> None:
        super().__init__()
        self._store = store
        self._sizes = sizes

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return what fsspec wants to know of a file."""
        name = self._strip_protocol(path)
        return {"name": name, "size": self._sizes[name], "type": "file"}

    def modified(self, path: str) -> datetime:  # noqa: ARG002
        """Return when a file changed: none ever does."""
        return datetime.fromtimestamp(0, UTC)

    def _open(self, path: str, mode: str = "rb", **_: Any) -> BufferedReader:
        if mode != "rb":
            raise OSError("a lake is read only")
        return self._store.open(path)
