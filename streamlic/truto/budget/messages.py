"""What a process and a permit server send each other: one JSON array a message. Pure.

Nothing is unpickled. What does not have exactly this form raises ValueError. Clocks of two machines
differ, so a moment travels as an age: the seconds that have passed since. A message takes time, so
its receiver places the moment too late, never too early, which errs on the safe side.
"""

from __future__ import annotations

import json
import math
from dataclasses import astuple, dataclass, field
from typing import Any, Self

MOST_BYTES = 64 << 10
"""The largest message. An ``Ask`` with ``MOST_REPORTED`` reports of each kind is smaller."""
MOST_REPORTED = 500
_MOST_SECONDS = 1e6
_MOST_NUMBER = 1 << 62


@dataclass(frozen=True, slots=True)
class Ask:
    """What a process asks for and reports, as often as it has something to say."""

    wanted: int = 0
    """How many permits it has a use for now."""
    sent: dict[int, float] = field(default_factory=dict)
    """Permits whose requests were sent: by number, the ages of their counts."""
    unused: list[int] = field(default_factory=list)
    """Permits with which nothing was sent, and nothing will be."""
    hold_seconds: float = 0.0
    """How long the API said that all must wait; 0 if it did not."""

    def to_bytes(self) -> bytes:
        """Return the message."""
        sent = [[number, round(age, 4)] for number, age in self.sent.items()]
        return json.dumps([self.wanted, sent, self.unused, self.hold_seconds]).encode()

    @classmethod
    def from_bytes(cls, message: bytes) -> Self:
        """Read a message; ValueError if it is not one."""
        wanted, sent, unused, hold_seconds = _array(message, 4)
        pairs = [_items(one, 2) for one in _items(sent)]
        return cls(
            _whole(wanted),
            {_whole(number): _number(age) for number, age in pairs},
            [_whole(one) for one in _items(unused)],
            _number(hold_seconds),
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server answers: permits ``first`` to ``first + permits - 1``, maybe none."""

    first: int
    permits: int
    wait_seconds: float
    """When to ask again, if permits are needed then."""
    hold_seconds: float
    """How long the API said that all must wait; 0 if it did not, or the time is over."""
    requests: int
    """The limit of the token: so many requests in ``window_seconds``."""
    window_seconds: float

    def to_bytes(self) -> bytes:
        """Return the message."""
        return json.dumps(astuple(self)).encode()

    @classmethod
    def from_bytes(cls, message: bytes) -> Self:
        """Read a message; ValueError if it is not one."""
        first, permits, wait, hold, requests, window = _array(message, 6)
        answer = cls(
            _whole(first),
            _whole(permits),
            _number(wait),
            _number(hold),
            _whole(requests),
            _number(window),
        )
        if answer.requests < 1 or answer.window_seconds <= 0:
            raise ValueError("not a limit")
        return answer


def _array(message: bytes, length: int) -> list[Any]:
    try:
        return _items(json.loads(message), length)
    except RecursionError as error:
        raise ValueError("a message that is nested too deeply") from error


def _items(value: Any, length: int | None = None) -> list[Any]:
    if type(value) is not list or len(value) != (length or len(value)):
        raise ValueError("not an array of the expected length")
    return value


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _MOST_NUMBER:
        raise ValueError("not a whole number in range")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or abs(value) > _MOST_SECONDS:
        raise ValueError("not a number of seconds in range")
    return float(value)
