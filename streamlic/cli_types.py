"""What options take that Click has no type for, and what a shell offers for them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from streamlic.request import LICENSE_FIELDS

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
    """A number of bytes: 1048576, 256MiB, 1.5GB, or as Kubernetes has it: 256Mi, 2G.

    Upper and lower case are alike. Only what has an ``i`` is binary, as the IEC and Kubernetes
    have it; Docker's ``256m`` is a little more than the 256 MB that it is here.
    """

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes that the text means."""
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
        return int(size)


def license_fields(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Return the fields of a license that begin so."""
    return [name for name in LICENSE_FIELDS if name.startswith(incomplete)]
