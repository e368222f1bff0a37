"""Processes that write a small lake, forks of one that has loaded all libraries.

``python -m tests.support.matrix_process`` reads commands, one JSON object a line: "start" a process
and print its number, or "wait" for one and print its exit code, below zero for a signal, or that
it was stopped.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any, Self

CONFLICT = 2
"""The exit code of a process that another writer has overtaken, or keeps out."""
LATE = 3
"""That of a process whose request took too long: it was stopped meanwhile."""
STOPPED = 1000
"""What is returned for a process that was stopped."""


class Processes:
    """Starts processes and waits for them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._logs: dict[int, Path] = {}
        self._running: set[int] = set()

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.support.matrix_process"]
        self._server = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:  # Those that a failed test has left stopped.
            os.kill(process, signal.SIGKILL)
        self._server.communicate()

    def start(self, **job: Any) -> int:
        """Start a process that writes the lake; ``job`` is what ``write_lake`` takes, and env."""
        log = self._directory / f"process-{len(self._logs)}.log"
        process = self._ask(do="start", log=str(log), **job)
        self._logs[process] = log
        self._running.add(process)
        return process

    def wait(self, process: int) -> int:
        """Wait until it ends or is stopped, and return its exit code or STOPPED."""
        code = self._ask(do="wait", process=process)
        if code != STOPPED:
            self._running.discard(process)
        return code

    def said(self, process: int) -> str:
        """Return what a process has said."""
        return self._logs[process].read_text() if self._logs[process].exists() else ""

    def _ask(self, **command: Any) -> int:
        assert self._server.stdin
        assert self._server.stdout
        print(json.dumps(command), file=self._server.stdin, flush=True)
        return int(self._server.stdout.readline())


def _serve() -> None:
    # What forks need is loaded here.
    import streamlic.storage.object_store
    import streamlic.tables.delta.format
    import streamlic.tables.iceberg.format  # noqa: F401
    from tests.support import matrix

    for line in sys.stdin:
        command = json.loads(line)
        if command.pop("do") == "wait":
            _, status = os.waitpid(command["process"], os.WUNTRACED)
            is_stopped = os.WIFSTOPPED(status)
            print(STOPPED if is_stopped else os.waitstatus_to_exitcode(status), flush=True)
            continue
        if process := os.fork():
            print(process, flush=True)
            continue
        code = 1
        try:
            code = _run(matrix, **command)
        except BaseException:  # noqa: BLE001  (whatever it is, the log has it)
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)


def _run(matrix: Any, log: str, env: dict[str, str], **job: Any) -> int:
    """Write the lake in this process, and return its exit code."""
    from streamlic.errors import DatasetConflict, StoreError

    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in (0, 1, 2):
        os.dup2(descriptor, number)
    os.environ.update(env)
    try:
        matrix.write_lake(**job)
    except DatasetConflict as error:
        print(f"DatasetConflict: {error}", file=sys.stderr)
        return CONFLICT
    except StoreError as error:
        if "did not answer in time" not in str(error):
            raise
        print(f"StoreError: {error}", file=sys.stderr)
        return LATE
    return 0


if __name__ == "__main__":
    _serve()
