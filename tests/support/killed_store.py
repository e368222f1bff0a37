"""A store whose process dies at a chosen operation, for tests in one process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from streamlic.storage.local import LocalFile, LocalStore


class Killed(BaseException):
    """The process has died: whatever it would still do, it cannot."""


class KilledStore(LocalStore):
    """A local store that raises Killed before its ``step``-th change, from 1, and ever after."""

    def __init__(self, root: Path, step: int | None = None) -> None:
        super().__init__(root)
        self._left = step

    def count(self) -> None:
        """Count a change; die if it is the one."""
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                raise Killed

    def create(self, name: str, data: bytes) -> None:
        self.count()
        super().create(name, data)

    def make_directory(self, name: str = "") -> None:
        self.count()
        super().make_directory(name)

    def stage(self, name: str) -> LocalFile:
        self.count()
        return _KilledFile(self, name)

    def publish(self, files: Sequence[tuple[str, str]]) -> None:
        if files:
            self.count()
        super().publish(files)

    def delete(self, *names: str) -> None:
        for name in names:  # One after the other, as a disk does it.
            self.count()
            super().delete(name)

    def delete_tree(self, name: str) -> None:
        for inner in self.names(name):  # One file after the other, as a disk does it.
            if (self.path(name) / inner).is_file():
                self.delete(f"{name}/{inner}")
        self.count()
        super().delete_tree(name)

    def _link(self, old: Path, new: Path) -> None:
        super()._link(old, new)
        self.count()  # Both names exist now.


class _KilledFile(LocalFile):
    store: KilledStore

    def keep(self) -> None:
        self.store.count()
        super().keep()
