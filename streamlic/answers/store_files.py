"""The files of a store for libraries that read through fsspec."""

from __future__ import annotations

from datetime import UTC, datetime
from io import BufferedReader
from typing import Any, ClassVar

from fsspec import AbstractFileSystem

from streamlic.storage.base import Store


class StoreFiles(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A store's files, for reading only, as ``lake://NAME``."""

    protocol: ClassVar[str] = "lake"
    cachable = False

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return what fsspec wants to know of a file."""
        name = self._strip_protocol(path)
        with self._store.open(name) as opened:
            size = opened.seek(0, 2)
        return {"name": name, "size": size, "type": "file"}

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """Return the names in a directory: fsspec's own signature."""
        names = [f"{path}/{name}" if path else name for name in self._store.names(path)]
        return [self.info(name) for name in names] if detail else names

    def modified(self, path: str) -> datetime:  # noqa: ARG002
        """Return when a file changed: none ever does."""
        return datetime.fromtimestamp(0, UTC)

    def _open(self, path: str, mode: str = "rb", **_: Any) -> BufferedReader:
        if mode != "rb":
            raise OSError("a lake is read only")
        return self._store.open(path)
