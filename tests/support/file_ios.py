"""Ways to files that a catalog may have by mistake: pyiceberg loads them as ``py-io-impl``."""

from __future__ import annotations

import threading
from pathlib import Path

from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO


class Elsewhere(PyArrowFileIO):
    """Keeps files in other places, as another endpoint would."""

    def new_output(self, location: str) -> PyArrowFile:
        return super().new_output(_elsewhere(location))

    def new_input(self, location: str):  # type: ignore[no-untyped-def]  # noqa: ANN201
        return super().new_input(_elsewhere(location))

    def delete(self, location):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        return super().delete(_elsewhere(location))


def _elsewhere(location: object) -> str:
    return str(Path(str(location)).parents[3] / "elsewhere" / Path(str(location)).name)


class Denied(PyArrowFileIO):
    """Is refused, with a text that has a secret."""

    def new_output(self, location: str) -> PyArrowFile:
        raise OSError(f"ACCESS_DENIED during PutObject: https://host{location}?sig=hidden")


class Silent(PyArrowFileIO):
    """Never answers."""

    def new_output(self, location: str) -> PyArrowFile:
        threading.Event().wait()
        raise AssertionError(location)
