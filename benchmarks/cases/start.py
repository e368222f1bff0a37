"""Cases of whole processes: their start is what is measured."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.cases.landing import TOKEN
from benchmarks.cases.worker import Done, Run


@contextmanager
def export(given: dict[str, Any]) -> Iterator[Run]:
    """Run ``streamlic export`` of one account."""
    with TemporaryDirectory(dir=given["work"]) as work:
        numbers = iter(range(1_000_000))

        def run() -> Done:
            dest = f"{work}/{next(numbers)}"
            return _ran(given, ["-m", "streamlic", "export", dest, "--account", given["account"],
                                "--base-url", given["url"], "--quiet"])  # fmt: skip

        yield run


@contextmanager
def helped(given: dict[str, Any]) -> Iterator[Run]:
    """Run ``streamlic --help``."""
    yield lambda: _ran(given, ["-m", "streamlic", "--help"])


@contextmanager
def imported(given: dict[str, Any]) -> Iterator[Run]:
    """Run Python with code that imports a library."""
    yield lambda: _ran(given, ["-c", given["code"]])


def _ran(given: dict[str, Any], arguments: Sequence[str]) -> Done:
    """Run a process; its CPU seconds and its peak are what counts.

    It may write compiled modules, as an installed package has them.
    """
    env = {**os.environ, "TRUTO_API_TOKEN": TOKEN}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    process = subprocess.Popen([sys.executable, *arguments], env=env, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}")
    figures = {"cpu_seconds": used.ru_utime + used.ru_stime, "peak_kib": used.ru_maxrss}
    return Done(given["rows"], given["bytes"], figures)
