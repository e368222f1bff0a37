"""The process of one case: prepares, warms up, and runs once for each line on its input."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from streamlic import UsageError

_MODULES = (
    "decoders", "encodings", "jobs", "pages", "peers_parts", "peers_whole", "start",
    "uploads",
)  # fmt: skip
_MESSAGE_CHARACTERS = 200


@dataclass(frozen=True)
class Done:
    """What one repetition did; ``bytes`` of JSON, ``more`` are figures of the case."""

    rows: int
    bytes: int
    more: dict[str, Any] | None = None


Run = Callable[[], Done]
Prepare = Callable[[dict[str, Any]], contextlib.AbstractContextManager[Run]]


def main(given: dict[str, Any]) -> None:
    """Speak the protocol: a line of JSON when ready, then one for each line read."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Output of libraries goes to stderr.

    def answer(**figures: Any) -> None:
        answers.write(json.dumps(figures) + "\n")
        answers.flush()

    try:
        with _case(given["do"])(given) as run:
            if given["is_warm"]:
                run()
            answer(is_ready=True)
            for _ in sys.stdin:
                answer(**_measured(run, given.get("at_least_seconds", 0.0)))
    except UsageError as error:
        answer(error=str(error))
    except Exception as error:  # noqa: BLE001  (any error is this case's result)
        text = " ".join(str(error).split())
        answer(error=f"{type(error).__name__}: {text[:_MESSAGE_CHARACTERS]}")


def _case(name: str) -> Prepare:
    module, _, function = name.partition(".")
    if module not in _MODULES:
        raise ValueError(f"no case is called {name}")
    found: Prepare = getattr(import_module(f"benchmarks.cases.{module}"), function)
    return found


def _measured(run: Run, at_least_seconds: float) -> dict[str, Any]:
    """Run until so much time has passed, at least once; return one run's share."""
    repeats = 0
    cpu_start, start = time.process_time(), time.perf_counter()
    while True:
        done = run()
        repeats += 1
        seconds = time.perf_counter() - start
        if seconds >= at_least_seconds:
            break
    return {
        "seconds": seconds / repeats,
        "cpu_seconds": (time.process_time() - cpu_start) / repeats,
        "rows": done.rows,
        "bytes": done.bytes,
        "peak_kib": peak_kib(),
        **(done.more or {}),
    }


def peak_kib() -> int:
    """Return this process's peak memory; ``ru_maxrss`` would be its parent's."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
