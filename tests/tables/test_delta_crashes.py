"""A writer that dies at any step of a change, and one that shows it again: every row is there once.

A process is killed: on the local disk before and after each call of deltalake, on S3 at each of its
writes, by the server that takes it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest
from deltalake import DeltaTable

from streamlic.dataset.lake import ACCOUNTS, RUNS, TABLES
from streamlic.storage.local import LocalStore
from streamlic.tables.delta_table import Table
from tests.support.delta import NIGHTS, Lake, ids_read
from tests.support.watched_s3 import WatchedS3, watched_s3

MONDAY, TUESDAY = NIGHTS[:2]
STEPS = ("opened", "create", "add_columns", "commit")
"""The calls of deltalake that a change makes."""
_SERVER = get_context("forkserver")


class OnS3(LocalStore):
    """Part files on the local disk, as the writer reads their footers, and Delta's logs on S3."""

    def where(self, name: str = "") -> str:
        return f"s3://lakes/{self.root.name}/{name}"


def show_monday(store: LocalStore) -> None:
    lake = Lake(store)
    lake.show(1, lake.night(MONDAY))


def show_tuesday(store: LocalStore) -> None:
    """Replace Monday's licenses, and add a column."""
    lake = Lake(store)
    lake.show(2, lake.night(TUESDAY), hidden=[lake.part(MONDAY, 1)])


def run_killed(work: Callable[[LocalStore], None], store: LocalStore, point: int) -> bool:
    """Run in a process that dies at a point, from 1; return whether it died."""
    process = _SERVER.Process(target=_killed, args=(work, store, point), daemon=True)
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def _killed(work: Callable[[LocalStore], None], store: LocalStore, point: int) -> None:
    left = point

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*given: Any, **named: Any) -> Any:
            count()
            result = call(*given, **named)
            count()
            return result

        return counting

    for name in STEPS:
        call = getattr(Table, name)
        is_static = not hasattr(call, "__func__")
        setattr(Table, name, counted(call) if is_static else staticmethod(counted(call)))
    work(store)


def check_between(lake: Lake) -> None:
    """Check what a reader sees after a crash: each table before the change, or after it."""
    seen = {table: lake.format.visible(table) or set() for table in TABLES}
    monday = {table: {lake.part(MONDAY, 1, table)} for table in TABLES}
    tuesday = {table: {lake.part(TUESDAY, 1, table)} for table in TABLES}
    for table in (ACCOUNTS, RUNS):  # Both are histories.
        tuesday[table] |= monday[table]
    order = [[set[str](), monday[table], tuesday[table]].index(seen[table]) for table in TABLES]
    assert order == sorted(order, reverse=True)  # Licenses are first, runs are last.


def check_tuesday(lake: Lake) -> None:
    assert ids_read(lake) == ids_read(lake, "polars") == lake.ids(TUESDAY)
    for table in (ACCOUNTS, RUNS):
        assert sorted(pl.read_delta(lake.store.where(table))["_run"]) == [MONDAY, TUESDAY]
    for table in TABLES:
        assert DeltaTable(lake.store.where(table)).version() == 2


def kill_everywhere(make: Callable[[int], LocalStore], killed: Callable[..., bool]) -> int:
    """Kill the writer at each point, and at the next kill in its recovery; return the kills."""
    kills = 0
    for work in (show_monday, show_tuesday):
        point, is_over = 0, False
        while not is_over:
            point += 1
            store = make(1000 * (work is show_tuesday) + point)
            lake = Lake(store)
            if work is show_tuesday:
                show_monday(store)
            lake.night(TUESDAY)
            is_over = not killed(work, store, point)
            check_between(lake)
            # Its recovery dies, too: everywhere from its first step on, point by point.
            killed(work, store, point % 5 + 1)
            check_between(lake)
            for redone in (show_monday, show_tuesday):
                redone(store)
            check_tuesday(lake)
            kills += not is_over
    return kills


def test_a_writer_is_killed_at_each_call_on_the_local_disk(tmp_path: Path) -> None:
    kills = kill_everywhere(lambda number: LocalStore(tmp_path / str(number)), run_killed)
    assert kills > 40


@pytest.fixture(scope="module")
def s3() -> Iterator[WatchedS3]:
    with watched_s3() as watched, pytest.MonkeyPatch.context() as patched:
        for name, value in watched.env.items():
            patched.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="lakes")
        yield watched


def upload(store: LocalStore) -> None:
    client = boto3.client("s3")
    for path in store.root.glob("*/part-*"):
        key = path.relative_to(store.root.parent).as_posix()
        client.put_object(Bucket="lakes", Key=key, Body=path.read_bytes())


@pytest.mark.parametrize("is_before", [True, False])
def test_a_writer_is_killed_at_each_write_on_s3(
    tmp_path: Path, s3: WatchedS3, is_before: bool
) -> None:
    def made(number: int) -> LocalStore:
        store = OnS3(tmp_path / f"{is_before}-{number}")
        for night in (MONDAY, TUESDAY):
            Lake(store).night(night)
        upload(store)
        return store

    def killed(work: Callable[[LocalStore], None], store: LocalStore, point: int) -> bool:
        s3.watch(kills=point, is_before=is_before)
        process = _SERVER.Process(target=_with_env, args=(s3.env, work, store), daemon=True)
        process.start()
        s3.has_client(process.pid or 0)
        process.join()
        s3.watch()
        assert process.exitcode in (0, -signal.SIGKILL)
        return process.exitcode != 0

    # Three tables are created, and each has a commit; then each has another one.
    assert kill_everywhere(made, killed) == 6 + 3


def _with_env(env: dict[str, str], work: Callable[[LocalStore], None], store: LocalStore) -> None:
    os.environ.update(env)
    work(store)


@pytest.mark.parametrize("loses", range(1, 7))
def test_an_answer_of_s3_is_lost(tmp_path: Path, s3: WatchedS3, loses: int) -> None:
    """The write is done, and sent again: it conflicts with itself."""
    store = OnS3(tmp_path / f"lost-{loses}")
    lake = Lake(store)
    files = lake.night(MONDAY)
    upload(store)
    s3.watch(loses=loses)
    lake.show(1, files)
    assert s3.writes > 6
    assert ids_read(lake) == ids_read(lake, "pyarrow") == lake.ids(MONDAY)
    for table in TABLES:
        assert DeltaTable(store.where(table)).version() == 1
