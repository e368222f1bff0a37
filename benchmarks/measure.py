"""Measures cases.

Rules:
1. A case has its own process, which reads its own peak (VmHWM): figures do not include the memory
   of a parent or of another case.
2. Repetitions are interleaved: in every round each case runs once, and each round begins with
   another case, so that a machine that slows down slows all of them.
3. Ratios are formed within a round, between runs close in time; reported are median, minimum and
   maximum.
4. Every process warms up first: on the same work, or, if it runs only once, on a small part of it.
   Figures do not include the start of Python and its imports.
5. A case that cannot do the work reports why, and is shown with the others, unless its group needs
   all of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
_PLACES = ("envelope", "lines", "url", "work")  # Paths of this run only, left out of the results.
Answer = dict[str, Any]
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing to measure. ``do`` names it in ``benchmarks.cases``; ``given`` are its settings.

    ``is_fresh``: each repetition has a process of its own, as a job has. ``program`` is another
    executable that speaks the worker's protocol. ``paths`` come first on the worker's PYTHONPATH.
    ``note`` says what the case loses or cannot do.
    """

    name: str
    do: str = ""
    given: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    is_fresh: bool = False
    most_rounds: int = 99
    program: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    left_out: str = ""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Cases that are compared with each other, on the same work."""

    part: str
    name: str
    about: str
    cases: list[Case]
    base: str
    """The case that ratios are to."""
    rounds: int = 5
    needs_all: bool = False
    """Without any of its cases it would compare nothing."""


class CaseFailed(Exception):
    """A case cannot do the work; the message says why."""


class Worker:
    """A case's process. It warms up, then runs once for each ``ask``."""

    def __init__(self, case: Case) -> None:
        given = {"do": case.do, "is_warm": not case.is_fresh, **case.given}
        module = ("-P", "-m", "benchmarks.cases", json.dumps(given))
        paths = os.pathsep.join([*case.paths, str(ROOT)])
        self._process = subprocess.Popen(
            case.program or (sys.executable, *module),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
        )
        self._is_ready = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        if self._process.stdout:
            self._process.stdout.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ready(self) -> None:
        """Wait until it is warm; CaseFailed if it cannot do the work."""
        if not self._is_ready:
            self._answer()
            self._is_ready = True

    def ask(self) -> Answer:
        """Let it run once; return its figures. CaseFailed if it could not."""
        self.ready()
        if self._process.stdin:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Answer:
        line = self._process.stdout.readline() if self._process.stdout else ""
        answer: Answer = json.loads(line) if line else {"error": "its process died"}
        if "error" in answer:
            raise CaseFailed(answer["error"])
        return answer


def run_group(group: Group, say: Say) -> dict[str, Any]:
    """Measure a group; return its entry of the results file.

    SystemExit if a case fails and the group needs all of them.
    """
    say(f"{group.part}: {group.name}: {'; '.join(case.name for case in group.cases)}")
    answers: dict[str, list[Answer]] = {case.name: [] for case in group.cases}
    left_out = {case.name: case.left_out for case in group.cases if case.left_out}
    lasting: dict[str, Worker] = {}
    with ExitStack() as stack:
        for case in group.cases:
            if not (case.left_out or case.is_fresh):
                lasting[case.name] = worker = stack.enter_context(Worker(case))
                _try(worker.ready, case, left_out)  # One at a time.
        _check_needed(group, left_out)
        for number in range(group.rounds):
            first = number % len(group.cases)
            for case in group.cases[first:] + group.cases[:first]:
                if case.name in left_out or number >= case.most_rounds:
                    continue
                given = lasting.get(case.name)
                answer = _try(given.ask if given else partial(_alone, case), case, left_out)
                if answer:
                    answers[case.name].append(answer)
    _check_needed(group, left_out)
    for why in dict.fromkeys(left_out.values()):
        say(f"  left out: {'; '.join(one for one in left_out if left_out[one] == why)}: {why}")
    return {
        "part": group.part,
        "name": group.name,
        "about": group.about,
        "base": group.base,
        "cases": [
            {
                "name": case.name,
                "note": case.note,
                "left_out": left_out.get(case.name, ""),
                "given": {k: v for k, v in case.given.items() if k not in _PLACES},
                "rounds": answers[case.name],
            }
            for case in group.cases
        ],
    }


def _check_needed(group: Group, left_out: dict[str, str]) -> None:
    if group.needs_all and left_out:
        whys = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise SystemExit(f"{group.part}: {group.name}: {whys}")


def _alone(case: Case) -> Answer:
    with Worker(case) as worker:
        return worker.ask()


def _try(step: Callable[[], Any], case: Case, left_out: dict[str, str]) -> Any:
    try:
        return step()
    except CaseFailed as failure:
        left_out[case.name] = str(failure)
        return None
