"""What ``_rescued`` holds, counted by JSON Pointer, each with an example."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_MOST_POINTERS = 1_000
_LONGEST_EXAMPLE = 200
_INDEX = re.compile(r"(?<=/)[0-9]+(?=/|$)")
# Digits stay text: then no number is too long.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)
_BLANK = re.compile(r"[ \t\r\n]*")
OTHERS = "(others)"


@dataclass
class RescueCount:
    """How often a pointer was rescued, and one of its values as JSON, clipped to 200 characters.

    ``*`` stands for any index of an array.
    """

    pointer: str
    count: int
    example: str


class Rescues:
    """Counts of at most a thousand pointers; all others are counted together."""

    def __init__(self) -> None:
        self._found: dict[str, RescueCount] = {}

    def take(self, text: str, rows: int = 1) -> None:
        """Count what ``_rescued`` holds in this many rows."""
        rescued = _DECODER.decode(text)
        if not isinstance(rescued, dict):
            raise ValueError(f"expected an object in _rescued, got {type(rescued).__name__}")  # noqa: TRY004
        for pointer in rescued:
            name = _INDEX.sub("*", pointer)
            known = self._found.get(name)
            if known is None:
                known = self._begin(name, text, pointer)
            known.count += rows

    def counts(self) -> list[RescueCount]:
        """Return the counts, the most frequent first."""
        return sorted(self._found.values(), key=lambda one: (-one.count, one.pointer))

    def _begin(self, name: str, text: str, pointer: str) -> RescueCount:
        example = ""
        if len(self._found) >= _MOST_POINTERS:
            name = OTHERS
        else:
            example = members(text).get(pointer, "")
            if len(example) > _LONGEST_EXAMPLE:
                example = example[:_LONGEST_EXAMPLE] + "..."
        return self._found.setdefault(name, RescueCount(name, 0, example))


def members(text: str) -> dict[str, str]:
    """Return the members of a JSON object, each value in its own text."""
    found = {}
    at = _past_blank(text, _past_blank(text, 0) + 1)
    while text[at] == '"':
        name, at = _DECODER.raw_decode(text, at)
        at = _past_blank(text, _past_blank(text, at) + 1)  # The colon.
        _, end = _DECODER.raw_decode(text, at)
        found[name] = text[at:end]
        at = _past_blank(text, end)
        if text[at] == ",":
            at = _past_blank(text, at + 1)
    return found


def _past_blank(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    return blank.end() if blank else at
