"""Small lakes on a store, each with a reader, and the processes that write them and are killed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from obstore.store import LocalStore as Files

from streamlic.dataset.commit_log import load_lake
from streamlic.dataset.lake import STAGING
from streamlic.dataset.verify import verify_dataset
from streamlic.storage.open_store import open_store
from tests.support.matrix import CATALOG, Nights
from tests.support.matrix_process import Processes
from tests.support.matrix_reader import Reader
from tests.support.object_servers import ObjectServer, catalog_variables

_RECOVERY_STEPS = 12
"""The second kill is at one of the first steps of the next process: while it recovers."""


@dataclass
class Lake:
    """A lake that is empty at first."""

    dest: str
    table_format: str
    reader: Reader

    def check(self) -> None:
        """Compare the lake with what it must be when all nights were written."""
        self.reader.check_end()
        store = open_store(self.dest)
        assert verify_dataset(store).problems == []
        # A rival may have started the lost night again, in good faith: nobody discards it then.
        runs = [run for run in load_lake(store).runs.values() if not run.is_complete]
        promised = {run.staged(file.name) for run in runs for file in run.files}
        left = {f"{STAGING}/{name}" for name in store.names(STAGING)} - promised
        assert not left, left


@dataclass
class Kills:
    """What a matrix of kills came to."""

    steps: int = 0
    kills: int = 0
    looks: int = 0


class Lakes:
    """Makes lakes of a format on a server of loopback, or on the local disk."""

    def __init__(
        self, table_format: str, processes: Processes, directory: Path,
        server: ObjectServer | None = None, catalog: str = "", *, pages: int = 2,
    ) -> None:  # fmt: skip
        self.table_format = table_format
        self.kind = catalog or table_format
        """The format, or the kind of the catalog of Iceberg's: "sql" or "glue"."""
        self.processes = processes
        self.server = server
        self._directory = directory
        self._catalog = catalog
        self._nights = Nights(pages)

    def __str__(self) -> str:
        server = self.server.name if self.server else "local disk"
        return f"{server} | {self.table_format} {self._catalog}".rstrip()

    @contextmanager
    def new(self) -> Iterator[Lake]:
        """Make a lake whose reader looks while the context lasts; it is gone afterwards."""
        name = f"lake{uuid4().hex[:8]}"
        with ExitStack() as stack:
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            direct = self.env(name, self.server.port) if self.server else self.env(name, 0)
            for variable, value in direct.items():
                patch.setenv(variable, value)
            if self.server:
                is_iceberg = self.table_format == "iceberg"
                named = self.server.iceberg_dest if is_iceberg else self.server.dest
                dest, files, prefix = named(name), self.server.store(), name
                env = self.server.environment
                stack.callback(self.server.delete, f"{name}/")  # Lists grow slower with each one.
            else:
                dest, prefix, env = str(self._directory / name), name, {}
                files = Files(self._directory)  # type: ignore[assignment]
            reader = Reader(files, prefix, dest, self.table_format, env, nights=self._nights)
            stack.enter_context(reader)
            yield Lake(dest, self.table_format, reader)

    def env(self, name: str, port: int) -> dict[str, str]:
        """Return the variables with which a process reaches the server by a port."""
        env = dict(self.server.environment_at(port)) if self.server else {}
        if self.table_format != "iceberg":
            return env
        given = self.server.iceberg_files(port) if self.server else {}
        if self._catalog == "glue":
            glue = {key.replace("s3.", "glue."): value for key, value in given.items()}
            given = {"type": "glue", **given, **glue}
        else:
            given["uri"] = f"sqlite:///{self._directory}/{name}.db"
        return env | catalog_variables(CATALOG, given)

    def start(self, lake: Lake, port: int = 0, **given: object) -> int:
        """Start a process that writes a lake, and reaches the server by a port."""
        return self.processes.start(
            env=self.env(lake.reader.namespace, port),
            dest=lake.dest,
            table_format=lake.table_format,
            pages=self._nights.pages,
            catalog=f"{CATALOG}.{lake.reader.namespace}" if self._catalog else None,
            **given,
        )


def kill_at_each_step(lakes: Lakes, every: int, first: int = 1) -> Kills:
    """Kill a process at every so many-th step, the next one while it recovers, and check the end.

    A step is what changes a local lake. At odd steps the process dies before it is carried out, at
    even ones after it; if ``every`` is 1, at each step both.
    """
    found = Kills()
    with lakes.new() as lake:
        code, found.steps = _ran(lakes, lake, 0, "before")
        assert code == 0
        lake.check()
    for number in range(first, found.steps + 1, every):
        for when in _whens(number // every, both=every == 1):
            with lakes.new() as lake:
                try:
                    found.kills += _killed(lakes, lake, number, when)
                    lake.check()
                except AssertionError as error:
                    raise AssertionError(f"step {number} of {found.steps}, {when}") from error
                found.looks += lake.reader.looks
    return found


def _killed(lakes: Lakes, lake: Lake, number: int, when: str) -> int:
    """Kill a process at a step, and the next one; let a third one end; return how many died."""
    deaths = 0
    for one in (number, 1 + number % _RECOVERY_STEPS, 0):
        code, _ = _ran(lakes, lake, one, when)
        assert code == 0 or (code == -signal.SIGKILL and one), code
        deaths += code != 0
        lake.reader.look()
    return deaths


def _whens(number: int, *, both: bool) -> tuple[str, ...]:
    if both:
        return ("before", "after")
    return ("before",) if number % 2 else ("after",)


def _ran(lakes: Lakes, lake: Lake, number: int, when: str) -> tuple[int, int]:
    """Run a process to its end, or to a step; return its exit code and how many steps it took.

    Only one that ends knows its steps.
    """
    process = lakes.start(lake, kills=(number, when))
    code = lakes.processes.wait(process)
    said = lakes.processes.said(process)
    if code not in (0, -signal.SIGKILL):
        print(said)
    return code, int(said.split()[-1]) if code == 0 else 0
