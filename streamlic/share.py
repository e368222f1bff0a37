"""One of several equal shares, as ``--token-share 2/4`` and ``--shard 2/4`` name it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from streamlic.errors import UsageError
from streamlic.validation import shown

_SHARE = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")


@dataclass(frozen=True, slots=True)
class Share:
    """Share ``number`` of ``of`` equal shares, counted from 1. ``str()`` is ``2/4``.

    Raises UsageError for numbers outside 1 to ``of``.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise UsageError(f"expected a number from 1 to {self.of}, got {self.number}")

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @classmethod
    def parse(cls, text: str, parameter: str | None = None) -> Self:
        """Read ``2/4``. Raises UsageError for anything else, which names ``parameter``."""
        match = _SHARE.fullmatch(text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UsageError(
                f"expected I/N with I from 1 to N, such as 2/4 for the second of four shares, "
                f"got {shown(text)}",
                parameter=parameter,
            )
        return cls(int(match[1]), int(match[2]))

    def part_of(self, total: int) -> int:
        """Return this share of ``total`` things. All shares add up to the total.

        Two shares differ by one at most.
        """
        return total * self.number // self.of - total * (self.number - 1) // self.of
