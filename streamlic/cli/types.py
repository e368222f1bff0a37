"""Types of options that Click lacks, and the completion of field names."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import click

from streamlic.formatting import counted
from streamlic.resources.licenses import LICENSES

if TYPE_CHECKING:
    _ParamType = click.ParamType[int]
else:
    _ParamType = click.ParamType  # It cannot be subscripted before 8.4.

_POWERS = {"K": 1, "M": 2, "G": 3, "T": 4}
_UNITS = {"": 1, "B": 1} | {
    f"{letter}{ending}": base**power
    for letter, power in _POWERS.items()
    for ending, base in (("IB", 1024), ("I", 1024), ("B", 1000), ("", 1000))
}
_LIMIT = 1 << 63  # Bytes that 64 bits count.


class Size(_ParamType):
    """A number of bytes from ``least`` to ``most``: 1048576, 256MiB, 1.5GB; or 256Mi, 2G.

    Case does not matter. Only units with an ``i`` are binary, as in IEC and Kubernetes. Docker's
    ``256m`` is a little more than the 256 MB that it is here.
    """

    name = "size"

    def __init__(self, least: int = 0, most: int = _LIMIT - 1) -> None:
        self.least = least
        self.most = most

    def to_info_dict(self) -> Any:
        """Return what distinguishes this type from other sizes."""
        return {**super().to_info_dict(), "least": self.least, "most": self.most}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number of bytes of a text."""
        if isinstance(value, int):
            return self._bounded(value, param, ctx)
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", value.strip())
        if match is None or match[2].upper() not in _UNITS:
            self.fail(f"expected a size such as 256MiB, got {value!r}", param, ctx)
        return self._bounded(float(match[1]) * _UNITS[match[2].upper()], param, ctx)

    def _bounded(
        self, size: float, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if size >= _LIMIT:  # A float of many digits is infinite, which no integer is.
            self.fail("expected a size below 8388608TiB, got more", param, ctx)
        if not self.least <= size <= self.most:
            at, bound = ("least", self.least) if size < self.least else ("most", self.most)
            self.fail(
                f"expected at {at} {size_text(bound)}, got {counted(int(size), 'byte')}", param, ctx
            )
        return int(size)


class Number(click.FloatRange):
    """A number within a range, and not NaN."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number of a text."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"expected a number, got {value!r}", param, ctx)
        return number


class Share(Number):
    """A share from 0 to 1, which may be written as a percentage: 0.03 or 3%."""

    name = "share"

    def __init__(self) -> None:
        super().__init__(0, 1)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the share of a text."""
        percent = (
            re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", value) if isinstance(value, str) else None
        )
        return super().convert(float(percent[1]) / 100 if percent else value, param, ctx)


def size_text(size: int) -> str:
    """Return a size in the largest unit that divides it."""
    unit = next(
        (one for one in ("TiB", "GiB", "MiB", "KiB") if size % _UNITS[one.upper()] == 0), "B"
    )
    return f"{size // _UNITS[unit.upper()]}{unit}"


def column_names(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the columns of the table that --table names; ``incomplete`` may end a list."""
    from streamlic.dataset.lake import schema_of

    names = schema_of(ctx.params.get("table") or "licenses", LICENSES.schema).names
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{one}" for one in (*names, "all") if one.startswith(last)]


def license_fields(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Return the fields of a license that start with a text."""
    return [name for name in LICENSES.fields if name.startswith(incomplete)]
