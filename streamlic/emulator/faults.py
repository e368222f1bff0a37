"""Which request meets which fault: how a fault is written, and when it is due.

A fault is written ``NAME[=VALUE][@WHEN]``. WHEN is a list of conditions, separated by commas:
``3`` or ``3-7`` is the number of the license request, counted from 1; ``row=5000`` is the page that
begins at this row; ``5%`` is a random share of the requests, chosen by the seed; ``times=2`` is the
most times that the fault happens.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from typing import Any

from streamlic.emulator.asked import Asked, page_start
from streamlic.emulator.config import EmulatorConfig
from streamlic.emulator.fault_answers import FAULTS, FaultInput
from streamlic.emulator.planned import Answer
from streamlic.errors import UsageError

_FAULT = re.compile(r"(?P<name>[0-9a-z-]+)(?:=(?P<value>[^@]*))?(?:@(?P<when>.*))?")
_SAMPLE = Asked("GET", "/unified/user-directory/licenses", [], {})


@dataclass(frozen=True)
class When:
    """Which requests meet a fault: those for which every given condition holds."""

    first: int = 1
    last: int | None = None
    row: int | None = None
    share: float = 1.0
    times: int | None = None


@dataclass(frozen=True)
class Fault:
    """One fault: its name, its value as written, and when it is due."""

    name: str
    value: str = ""
    when: When = field(default_factory=When)

    def __str__(self) -> str:
        return f"{self.name}={self.value}" if self.value else self.name


def parse_fault(text: str) -> Fault:
    """Parse ``NAME[=VALUE][@WHEN]``; UsageError if the text is not a fault."""
    match = _FAULT.fullmatch(text)
    if match is None or match["name"] not in FAULTS:
        raise UsageError(f"expected one of {', '.join(FAULTS)}, got {text!r}", parameter="fault")
    fault = Fault(match["name"], match["value"] or "", _when(match["when"] or "", text))
    try:
        FAULTS[fault.name].plan(FaultInput(EmulatorConfig(), _SAMPLE, fault.value))
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"expected {fault.name}={FAULTS[fault.name].value}, got {text!r}: {error}",
            parameter="fault",
        ) from None
    return fault


def _when(text: str, whole: str) -> When:
    given: dict[str, Any] = {}
    for one in filter(None, text.split(",")):
        if match := re.fullmatch(r"(\d+)(?:-(\d+))?", one):
            given["first"], given["last"] = int(match[1]), int(match[2] or match[1])
        elif match := re.fullmatch(r"(\d+(?:\.\d+)?)%", one):
            given["share"] = float(match[1]) / 100
        elif match := re.fullmatch(r"(row|times)=(\d+)", one):
            given[match[1]] = int(match[2])
        else:
            raise UsageError(
                f"expected a number, from-to, row=N, N% or times=N after the @, got {whole!r}",
                parameter="fault",
            )
    when = When(**given)
    if not (1 <= when.first <= (when.last or when.first) and when.share <= 1):
        raise UsageError(
            f"expected a condition that can be met after the @, got {whole!r}",
            parameter="fault",
        )
    return when


class FaultPlan:
    """Chooses the fault of each request. The same seed makes the same choices."""

    def __init__(self, faults: tuple[Fault, ...], seed: int) -> None:
        self._faults = faults
        self._random = random.Random(seed)
        self._times = [0] * len(faults)
        self._number = 0
        self.done: list[str] = []
        """The faults that happened so far, in order."""

    def next(self, asked: Asked) -> Fault | None:
        """Return the fault of this license request, None if it has none."""
        self._number += 1
        # Every fault draws, due or not: removing one fault does not change the others.
        draws = [self._random.random() for _ in self._faults]
        for at, (fault, draw) in enumerate(zip(self._faults, draws, strict=True)):
            if draw < fault.when.share and self._is_due(fault, asked, self._times[at]):
                self._times[at] += 1
                self.done.append(str(fault))
                return fault
        return None

    def _is_due(self, fault: Fault, asked: Asked, times: int) -> bool:
        when = fault.when
        return (
            when.first <= self._number
            and (when.last is None or self._number <= when.last)
            and (when.row is None or when.row == page_start(asked))
            and (when.times is None or times < when.times)
        )


def faulty_answer(config: EmulatorConfig, asked: Asked, fault: Fault) -> Answer:
    """Plan the answer to one request, with this fault."""
    return FAULTS[fault.name].plan(FaultInput(config, asked, fault.value))
