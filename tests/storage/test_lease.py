"""The lease of an object store: one writer at a time, and a dead one is replaced."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest

from streamlic.dataset.destination import awaited_writer_lock
from streamlic.errors import DatasetConflict
from streamlic.storage import conditional, credentials, lease
from tests.support.bucket import SHORT_SECONDS, opened, stopped
from tests.support.faulty_proxy import faulty_proxy
from tests.support.object_servers import MotoServer

HOLDER = """
import sys, time
from pathlib import Path
from tests.support.bucket import opened
with opened(sys.argv[1], Path(sys.argv[2])).lock("log/lock"):
    print("held", flush=True)
    sys.stdin.read()
print("released", flush=True)
"""


@contextmanager
def holder(dest: str, scratch: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Let another process hold the lease, until its input ends."""
    command = [sys.executable, "-c", HOLDER, dest, str(scratch)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


def test_a_writer_that_renews_its_lease_is_named(dest: str, tmp_path: Path) -> None:
    with holder(dest, tmp_path) as process:
        with pytest.raises(DatasetConflict) as caught:
            opened(dest, tmp_path).lock("log/lock").__enter__()
        assert re.search(
            rf"another writer is active in {dest} \(process {process.pid} on \S+\)",
            str(caught.value),
        )
        assert "take_over=True" in str(caught.value)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait() == 0
    assert opened(dest, tmp_path).writer("log/lock") == ""


def test_the_lease_of_a_killed_writer_ends(
    dest: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with holder(dest, tmp_path) as process:
        process.kill()
        process.wait()
    store, started = opened(dest, tmp_path), monotonic()
    assert "active" in store.writer("log/lock")
    with store.lock("log/lock"):
        assert monotonic() - started >= SHORT_SECONDS
        assert f"process {process.pid} on " in caplog.text, "the user sees what is waited for"
        assert f"process {os.getpid()} on " in store.writer("log/lock")
    assert store.writer("log/lock") == ""


def test_a_lease_can_be_taken_at_once(dest: str, tmp_path: Path) -> None:
    """Also from a writer that is alive: only the commit log keeps that one out."""
    first = opened(dest, tmp_path, lease_seconds=1000)
    second = opened(dest, tmp_path, takes_over=True, lease_seconds=1000)
    with first.lock("log/lock"):
        held = first.read("log/lock")
        with second.lock("log/lock"):
            taken = second.read("log/lock")
            assert taken != held


def test_a_writer_that_lost_its_lease_leaves_the_new_one_alone(dest: str, tmp_path: Path) -> None:
    first = opened(dest, tmp_path)
    second = opened(dest, tmp_path, takes_over=True, lease_seconds=1000)
    lock = first.lock("log/lock")
    lock.__enter__()
    with second.lock("log/lock"):
        taken = second.read("log/lock")
        lock.__exit__(None, None, None)
        assert second.read("log/lock") == taken


def test_a_writer_that_is_stopped_while_it_ends_its_lease_leaves_the_new_one_alone(
    dest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has seen that the lease is its own, and is another's when it wakes up."""
    first = opened(dest, tmp_path)
    rivals = opened(dest, tmp_path, takes_over=True, lease_seconds=1000).lock("log/lock")
    read, taken = conditional.read_version, list[bytes]()

    def slow(*given: Any) -> Any:
        found = read(*given)
        if threading.current_thread() is threading.main_thread() and not taken:
            taken.append(b"")
            rivals.__enter__()
            taken.append(first.read("log/lock"))
        return found

    lock = first.lock("log/lock")
    lock.__enter__()
    with monkeypatch.context() as patch:
        patch.setattr(lease, "read_version", slow)
        lock.__exit__(None, None, None)
    assert first.read("log/lock") == taken[1]
    rivals.__exit__(None, None, None)
    assert first.writer("log/lock") == ""


def test_a_stopped_writer_loses_its_lease_to_one_rival(dest: str, tmp_path: Path) -> None:
    with holder(dest, tmp_path) as process:
        os.kill(process.pid, signal.SIGSTOP)
        with opened(dest, tmp_path).lock("log/lock"):
            rival = opened(dest, tmp_path)
            with pytest.raises(DatasetConflict, match=f"process {os.getpid()} on "):
                rival.lock("log/lock").__enter__()
            assert process.stdin is not None
            process.stdin.close()
            os.kill(process.pid, signal.SIGCONT)
            assert process.wait() == 0
            assert f"process {os.getpid()} on " in rival.writer("log/lock")


def test_a_lease_is_renewed_after_the_store_was_out_of_reach(
    dest: str, tmp_path: Path, moto: MotoServer
) -> None:
    store = opened(dest, tmp_path)
    with store.lock("log/lock"):
        with stopped(moto):
            Event().wait(SHORT_SECONDS)
        with pytest.raises(DatasetConflict):
            opened(dest, tmp_path).lock("log/lock").__enter__()


def test_an_object_that_is_not_a_lease_is_replaced(dest: str, tmp_path: Path) -> None:
    store = opened(dest, tmp_path)
    store.create("log/lock", b"not JSON")
    assert store.writer("log/lock") == ""
    with store.lock("log/lock"):
        pass
    assert store.writer("log/lock") == ""


def test_a_lease_names_no_secret(dest: str, tmp_path: Path) -> None:
    store = opened(dest, tmp_path)
    with store.lock("log/lock"):
        assert b"testtest" not in store.read("log/lock")


async def test_a_task_that_waits_for_a_lease_can_be_cancelled(
    dest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal does not have to wait, too: here for an hour's lease."""
    loop, is_waiting = asyncio.get_running_loop(), asyncio.Event()

    def waits(*_: object) -> None:
        loop.call_soon_threadsafe(is_waiting.set)

    monkeypatch.setattr(lease, "_log", SimpleNamespace(warning=waits))

    async def work() -> None:
        async with awaited_writer_lock(opened(dest, tmp_path)):
            raise AssertionError

    holder = opened(dest, tmp_path, lease_seconds=3600)
    with holder.lock("_streamlic/lock"):
        held = holder.read("_streamlic/lock")
        task = asyncio.create_task(work())
        await is_waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert holder.read("_streamlic/lock") == held


async def test_a_task_that_has_the_lease_gives_it_back(dest: str, tmp_path: Path) -> None:
    store = opened(dest, tmp_path)
    with pytest.raises(KeyError):
        async with awaited_writer_lock(store):
            assert "active" in store.writer("_streamlic/lock")
            raise KeyError
    assert store.writer("_streamlic/lock") == ""
    with store.lock("_streamlic/lock"), pytest.raises(DatasetConflict):
        async with awaited_writer_lock(opened(dest, tmp_path)):
            raise AssertionError


def test_a_renewal_whose_answer_was_lost_is_the_holders_own(
    dest: str, tmp_path: Path, moto: MotoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version that it knows is old, and the lease its own all the same."""
    with faulty_proxy(moto.port) as proxy:
        for name, value in moto.environment_at(proxy.port).items():
            monkeypatch.setenv(name, value)
        store = opened(dest, tmp_path, retries=0)
        with store.lock("log/lock"):
            proxy.lose_answers(1, path="log/lock")
            before = len(proxy.passed)
            for _ in range(300):
                if [one.method for one in proxy.passed[before:]].count("PUT") > 2:
                    break
                Event().wait(SHORT_SECONDS / 10)
            renewed = json.loads(store.read("log/lock"))
            assert renewed["renewals"] >= 2
        assert store.writer("log/lock") == ""


def test_a_lease_is_left_to_end_by_itself_where_the_store_is_silent(
    dest: str, tmp_path: Path, moto: MotoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A holder that ends does not wait for the store again."""
    monkeypatch.setattr(credentials, "LEASE_TIMEOUT", timedelta(seconds=0.1))
    with faulty_proxy(moto.port) as proxy:
        for name, value in moto.environment_at(proxy.port).items():
            monkeypatch.setenv(name, value)
        store = opened(dest, tmp_path)
        with store.lock("log/lock"):
            proxy.hang(math.inf, methods=("GET", "PUT"))
            for _ in range(300):
                if any(one.fault for one in proxy.passed):
                    break
                Event().wait(SHORT_SECONDS / 10)
        hung = [one.method for one in proxy.passed if one.fault]
        proxy.heal()
        assert hung == ["PUT"], "a renewal, and nothing after it"
        assert "active" in store.writer("log/lock")
