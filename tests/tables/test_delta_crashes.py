"""A writer that dies at any step of a change, and one that shows it again: every row is there once.

A process is killed: on the local disk before and after each call of deltalake, on S3 at each of its
writes, by the server that takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest
from deltalake import DeltaTable

from streamlic.dataset.lake import ACCOUNTS, RUNS, TABLES
from streamlic.storage.local import LocalStore
from tests.support.delta import BUCKET, Lake, ids_read
from tests.support.delta_writer import (
    MONDAY,
    TUESDAY,
    OnS3,
    Work,
    died_at,
    show_monday,
    show_tuesday,
)
from tests.support.watched_s3 import WatchedS3, watched_s3


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


def kill_at(
    work: Work,
    point: int,
    make: Callable[[str], LocalStore],
    killed: Callable[[Work, LocalStore, int], bool],
) -> bool:
    """Kill the writer at a point, and once more in its recovery; return whether it got there."""
    store = make(f"{work.__name__}-{point}")
    lake = Lake(store)
    if work is show_tuesday:
        show_monday(store)
    lake.night(TUESDAY)
    died = killed(work, store, point)
    check_between(lake)
    killed(work, store, point % 5 + 1)
    check_between(lake)
    for redone in (show_monday, show_tuesday):
        redone(store)
    check_tuesday(lake)
    return died


def kills_everywhere(*given: Any) -> int:
    """Kill the writer at each point; return how many there are."""
    points = 0
    for work in (show_monday, show_tuesday):
        for point in count(1):
            if not kill_at(work, point, *given):
                break
            points += 1
    return points


@pytest.mark.parametrize(("work", "point"), [(show_monday, 10), (show_tuesday, 6)])
def test_a_writer_is_killed_at_a_call_on_the_local_disk(
    tmp_path: Path, work: Work, point: int
) -> None:
    """After the first table's first commit, and after its second one."""
    assert kill_at(work, point, lambda name: LocalStore(tmp_path / name), died_at)


@pytest.mark.slow
def test_a_writer_is_killed_at_each_call_on_the_local_disk(tmp_path: Path) -> None:
    points = kills_everywhere(lambda name: LocalStore(tmp_path / name), died_at)
    # Each call has two. A table is opened, created, opened, and has its columns compared before
    # its commit; later it is opened, compared and has its commit.
    assert points == 2 * 3 * 5 + 2 * 3 * 3


@pytest.fixture(scope="module")
def s3() -> Iterator[WatchedS3]:
    with watched_s3() as watched, pytest.MonkeyPatch.context() as patched:
        for name, value in watched.env.items():
            patched.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield watched


def upload(store: LocalStore) -> None:
    client = boto3.client("s3")
    for path in store.root.glob("*/part-*"):
        key = path.relative_to(store.root.parent).as_posix()
        client.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())


class Killing:
    """How a server kills the writer, before or after it does a write."""

    def __init__(self, place: Path, s3: WatchedS3, *, is_before: bool) -> None:
        self._place, self._s3, self._is_before = place, s3, is_before

    def make(self, name: str) -> LocalStore:
        store = OnS3(self._place / f"{self._is_before}-{name}")
        for night in (MONDAY, TUESDAY):
            Lake(store).night(night)
        upload(store)
        return store

    def killed(self, work: Work, store: LocalStore, point: int) -> bool:
        self._s3.watch(kills=point, is_before=self._is_before)
        died = died_at(work, store, env=self._s3.env, started=self._s3.has_client)
        self._s3.watch()
        return died


@pytest.mark.parametrize("is_before", [True, False])
def test_a_writer_is_killed_at_a_write_on_s3(
    tmp_path: Path, s3: WatchedS3, is_before: bool
) -> None:
    killing = Killing(tmp_path, s3, is_before=is_before)
    assert kill_at(show_tuesday, 2, killing.make, killing.killed)


@pytest.mark.slow
@pytest.mark.parametrize("is_before", [True, False])
def test_a_writer_is_killed_at_each_write_on_s3(
    tmp_path: Path, s3: WatchedS3, is_before: bool
) -> None:
    killing = Killing(tmp_path, s3, is_before=is_before)
    # Three tables are created, and each has a commit; then each has another one.
    assert kills_everywhere(killing.make, killing.killed) == 3 * 2 + 3


@pytest.mark.parametrize("loses", [1, 2])
def test_an_answer_of_s3_is_lost(tmp_path: Path, s3: WatchedS3, loses: int) -> None:
    """The write is done, and sent again: it conflicts with itself. First it creates a table."""
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
