"""The recipes of docs/how-to/shards.md run: each starts four processes, which read one run.

Airflow, Ray and Dask are not among the packages of the tests. Without them an imitation of each
runs the recipe's function in processes of its own; with them they do.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from streamlic.dataset.commit_log import load_lake
from streamlic.dataset.verify import verify_dataset
from streamlic.emulator import EmulatorConfig, emulated_accounts, running_emulator
from streamlic.storage.local import LocalStore
from tests.support.cli import TOKEN, check_accounts
from tests.support.examples import ROOT, blocks_of
from tests.test_docs import container_of, job_of

PAGE = ROOT / "docs" / "how-to" / "shards.md"
MANIFEST = ROOT / "deploy" / "kubernetes" / "shards.yaml"
BUCKET = "s3://my-bucket/lake"
SIZES = {one.id: one.records for one in emulated_accounts(8, records=30).values()}

_PROCESSES = """
import json, os

def start(work, **given):
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        code = 1
        try:
            os.write(writing, json.dumps(work(**given)).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    return process, reading

def result(started):
    process, reading = started
    with os.fdopen(reading) as said:
        text = said.read()
    assert os.waitpid(process, 0)[1] == 0
    return json.loads(text)
"""
_AIRFLOW = """
from processes import result, start

def dag(**given):
    return lambda work: work

class Mapped:
    def __init__(self, work):
        self._work = work

    def expand(self, *, number):
        for one in [start(self._work, number=number, ds="2026-11-26") for number in number]:
            result(one)

def task(**given):
    return Mapped
"""
_RAY = """
from processes import result, start

class Remote:
    def __init__(self, work):
        self._work = work

    def remote(self, number):
        return start(self._work, number=number)

def remote(**given):
    return Remote

def get(started):
    return [result(one) for one in started]
"""
_DASK = """
from processes import result, start

class Client:
    def __init__(self, **given):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def map(self, work, numbers, **given):
        return [start(work, number=number) for number in numbers]

    def gather(self, started):
        return [result(one) for one in started]
"""
IMITATIONS = {
    "airflow": {"airflow/__init__.py": "", "airflow/sdk.py": _AIRFLOW},
    "ray": {"ray.py": _RAY},
    "dask": {"dask/__init__.py": "", "dask/distributed.py": _DASK},
}


def recipe(engine: str) -> str:
    """Return the program of the page that imports an engine."""
    blocks = [one.text for one in blocks_of(PAGE.read_text()) if one.language == "py"]
    [found] = (one for one in blocks if f"from {engine}." in one or f"import {engine}\n" in one)
    return found


def imitation(engine: str, directory: Path) -> dict[str, str]:
    """Return the variables with which a program finds an engine: a imitation if it is not here."""
    if find_spec(engine):
        return {}
    for name, text in {"processes.py": _PROCESSES, **IMITATIONS[engine]}.items():
        path = directory / "engines" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return {"PYTHONPATH": str(directory / "engines")}


async def ended(*command: str | Path, **env: str) -> str:
    """Run a program to its end, and return what it printed."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TRUTO_API_TOKEN": TOKEN, **env},
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


def check_lake(dest: Path, key: str) -> None:
    check_accounts(dest, SIZES)
    [run] = load_lake(LocalStore(dest)).runs.values()
    assert (run.key, run.shards.of, run.is_finished) == (key, 4, True)
    assert verify_dataset(LocalStore(dest)).problems == []


@pytest.mark.parametrize("engine", IMITATIONS)
async def test_the_recipe_of_an_engine_reads_one_run(tmp_path: Path, engine: str) -> None:
    program = tmp_path / "program.py"
    dest = tmp_path / "lake"
    text = recipe(engine)
    assert BUCKET in text
    program.write_text(text.replace(BUCKET, str(dest)))
    async with running_emulator(EmulatorConfig(accounts=SIZES, rate_limits=True)) as emulator:
        env = {**imitation(engine, tmp_path), "TRUTO_API_BASE_URL": emulator.url}
        out = await ended(sys.executable, program, **env)
        assert emulator.refused == 0
    check_lake(dest, "2026-11-26")
    assert engine == "airflow" or str(sum(SIZES.values())) in out


def shell_command(container: Any, values: dict[str, str]) -> Sequence[str]:
    """Return a container's command, with what Kubernetes puts into its arguments."""
    words = [*container["command"], *container["args"]]
    for name, value in values.items():
        words = [word.replace(f"$({name})", value) for word in words]
    return words


async def test_the_indexed_job_reads_one_run(tmp_path: Path) -> None:
    """A pod is a process with the variables that Kubernetes sets."""
    job = job_of(MANIFEST)
    assert job["completions"] == job["parallelism"] == 4
    container = container_of(job)
    dest, token = tmp_path / "lake", tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o400)
    placed = {BUCKET: str(dest), "/etc/streamlic/token": str(token), "=/scratch": f"={tmp_path}"}
    words = shell_command(container, {"RUN_KEY": "licenses-in-shards"})
    for there, here in placed.items():
        words = [word.replace(there, here) for word in words]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    async with running_emulator(EmulatorConfig(accounts=SIZES, rate_limits=True)) as emulator:
        env = {"TRUTO_API_BASE_URL": emulator.url, "PATH": path}
        await asyncio.gather(
            *(ended(*words, JOB_COMPLETION_INDEX=str(index), **env) for index in range(4))
        )
    check_lake(dest, "licenses-in-shards")
