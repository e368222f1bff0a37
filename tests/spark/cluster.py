"""A standalone Spark cluster on this machine: a master, and two workers on two addresses.

Rules:
1. It is pip's pyspark that runs. Nothing is installed, and only addresses of loopback are used.
2. The workers have addresses of their own, as two hosts have: a speculative copy of a task never
   runs on the host of the first attempt.
3. Executors get their environment from their worker: that is how the token reaches them.
4. Each worker has more cores than an application takes, so that a second one can run at once.
5. Its processes are known by a variable in their environment. Only those are ended.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.request import urlopen
from uuid import uuid4

from tests.spark import processes
from tests.support.object_servers import free_ports

ROOT = Path(__file__).parents[2]
MASTER = "127.0.0.1"
HOSTS = ("127.0.0.1", "127.0.0.2")
CORES = 2
"""The cores of an application: one on each worker."""
_CORES_OF_A_WORKER = 4
_MARK = "STREAMLIC_TEST_CLUSTER"
_JAVA_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""Less compilation, and no threads for it: the JVMs live for minutes, on few cores."""
_MOST_SECONDS = 180
_POLL_SECONDS = 0.1


def why_no_cluster() -> str | None:
    """Return why no cluster can run here; None if one can."""
    if importlib.util.find_spec("pyspark") is None:
        return "pyspark is not installed: `make test-spark` installs it"
    if shutil.which("java") is None:
        return "Spark needs Java 17 or newer, and there is no java in PATH"
    return None


class Cluster:
    """A cluster that runs while its context lasts.

    ``environment`` is added to that of workers, executors and drivers.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="streamlic-spark-"))
        """Logs, event logs and the executors' files. It is deleted at the end."""
        for name in ("conf", "events", "logs", "warehouse"):
            (self.directory / name).mkdir()
        self.port, self.page_port, *self._worker_ports = free_ports(2 + 2 * len(HOSTS))
        self.url = f"spark://{MASTER}:{self.port}"
        self._mark = uuid4().hex
        self._spark = Path(importlib.util.find_spec("pyspark").origin or "").parent  # type: ignore[union-attr]
        self.environment = {
            **os.environ,
            "SPARK_HOME": str(self._spark),
            "SPARK_CONF_DIR": str(self.directory / "conf"),
            "SPARK_DAEMON_JAVA_OPTS": _JAVA_OPTIONS,
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_LOCAL_DIRS": str(self.directory / "local"),
            "PYSPARK_PYTHON": sys.executable,
            "PYTHONPATH": str(ROOT),
            _MARK: self._mark,
            **environment,
        }
        """The environment for a driver, too."""
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            command = ["--host", MASTER, "--port", self.port, "--webui-port", self.page_port]
            self._start("master", MASTER, "master.Master", command)
            self.wait_for(lambda: self.state() is not None)
            for number in range(len(HOSTS)):
                self.start_worker(number, is_awaited=False)
            self.wait_for(lambda: len(self._workers_alive()) == len(HOSTS))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for one in reversed(self._processes.values()):
            one.terminate()
        for one in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                one.wait(10)
        processes.kill(*self.pids())
        for one in self._processes.values():
            one.kill()
            one.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def pids(self) -> list[int]:
        """Return all of the cluster's processes: master, workers, executors and their Pythons."""
        return [one for one in processes.with_variable(_MARK, self._mark) if one != os.getpid()]

    def settings(self, **more: str) -> dict[str, str]:
        """Return the settings of an application; a name of ``more`` has ``_`` for each dot."""
        return {
            "spark.master": self.url,
            "spark.cores.max": str(CORES),
            "spark.driver.bindAddress": MASTER,
            "spark.driver.host": MASTER,
            "spark.driver.extraJavaOptions": _JAVA_OPTIONS,
            "spark.driver.memory": "512m",
            "spark.eventLog.compress": "false",
            "spark.eventLog.dir": f"file://{self.directory}/events",
            "spark.eventLog.enabled": "true",
            "spark.executor.cores": "1",
            "spark.executor.extraJavaOptions": _JAVA_OPTIONS,
            "spark.executor.memory": "512m",
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.shuffle.partitions": "4",
            "spark.sql.warehouse.dir": f"file://{self.directory}/warehouse",
            "spark.ui.port": "0",
            "spark.ui.showConsoleProgress": "false",
            **{name.replace("_", "."): value for name, value in more.items()},
        }

    def driver(self, *command: str, **settings: str) -> subprocess.Popen[str]:
        """Start Python as a driver of its own, in a session of its own, to be killed as a tree.

        It finds the settings as JSON in the variable SPARK_SETTINGS.
        """
        given = {"SPARK_SETTINGS": json.dumps(self.settings(**settings))}
        return subprocess.Popen(
            [sys.executable, *command],
            env={**self.environment, **given},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def start_worker(self, number: int, *, is_awaited: bool = True) -> None:
        """Start a worker; the first has number 0."""
        host = HOSTS[number]
        port, page_port = self._worker_ports[2 * number : 2 * number + 2]
        work = self.directory / f"work-{number}"
        command = ["--host", host, "--port", port, "--webui-port", page_port]
        command += ["--cores", _CORES_OF_A_WORKER, "--memory", "4g", "--work-dir", work, self.url]
        self._start(f"worker-{number}", host, "worker.Worker", command)
        if is_awaited:
            self.wait_for(lambda: host in self._workers_alive())

    def worker(self, number: int) -> int:
        """Return the process of a worker."""
        return self._processes[f"worker-{number}"].pid

    def executors(self, number: int) -> list[int]:
        """Return the executors of a worker, of all applications."""
        return [
            one
            for one in processes.descendants(self.worker(number))
            if "CoarseGrainedExecutorBackend" in processes.command_line(one)
        ]

    def kill_executors(self, number: int) -> None:
        """SIGKILL a worker's executors and their Pythons. The worker starts others."""
        for one in self.executors(number):
            processes.kill_tree(one)

    def kill_worker(self, number: int) -> None:
        """SIGKILL a worker, its executors and their Pythons."""
        processes.kill_tree(self.worker(number))
        self._processes[f"worker-{number}"].wait()

    def revive(self) -> None:
        """Start each worker that has been killed, and let each have an executor again.

        Meanwhile the other worker has got the executor that was lost: it is killed there.
        """
        for number in range(len(HOSTS)):
            if self._processes[f"worker-{number}"].poll() is not None:
                self.start_worker(number)
        there = [self.executors(number) for number in range(len(HOSTS))]
        crowded, lonely = max(there, key=len), there.index(min(there, key=len))
        if len(crowded) == CORES and not there[lonely]:
            processes.kill_tree(crowded[0])
            self.wait_for(lambda: bool(self.executors(lonely)))

    def state(self) -> dict[str, Any] | None:
        """Return the page of the master, as JSON; None if it does not answer."""
        try:
            with urlopen(f"http://{MASTER}:{self.page_port}/json/") as page:
                state: dict[str, Any] = json.load(page)
        except OSError:
            return None
        return state

    def texts(self) -> dict[str, str]:
        """Return all logs and event logs, by their path in the cluster's directory."""
        kept = ("logs/**/*", "events/**/*", "work-*/**/std*")
        files = [one for rule in kept for one in self.directory.glob(rule) if one.is_file()]
        return {
            str(one.relative_to(self.directory)): one.read_text(errors="replace") for one in files
        }

    def wait_for(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds; RuntimeError with the logs if it does not come to that."""
        end = time.monotonic() + _MOST_SECONDS
        while not holds():
            ended = [name for name, one in self._processes.items() if one.poll() is not None]
            if time.monotonic() > end:
                logs = "\n".join(text[-2000:] for text in self.texts().values())
                raise RuntimeError(f"waited for {_MOST_SECONDS} s; {ended} ended: {logs}")
            time.sleep(_POLL_SECONDS)

    def _workers_alive(self) -> list[str]:
        state = self.state() or {"workers": []}
        return [one["host"] for one in state["workers"] if one["state"] == "ALIVE"]

    def _start(self, name: str, host: str, kind: str, options: Sequence[object]) -> None:
        with (self.directory / "logs" / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [
                    self._spark / "bin" / "spark-class",
                    f"org.apache.spark.deploy.{kind}",
                    *map(str, options),
                ],
                env={**self.environment, "SPARK_LOCAL_IP": host},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
