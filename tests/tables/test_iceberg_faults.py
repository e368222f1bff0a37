"""Iceberg tables with killed processes, rival writers, lost answers, and tables of others."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    CommitStateUnknownException,
    ForbiddenError,
    UnauthorizedError,
)

import streamlic.tables.iceberg.format as iceberg_module
from streamlic.errors import DatasetConflict, StoreError, StreamlicError, UsageError
from streamlic.storage.local import LocalStore
from streamlic.tables.iceberg.catalog import OpenCatalog, open_catalog
from streamlic.tables.iceberg.format import IcebergFormat
from tests.tables.iceberg_lake import IcebergLake, use_catalog

Commit = Callable[..., Any]
SEEN = [
    "[None, None, None]",
    "[[], None, None]",
    "[[1, 2], None, None]",
    "[[1, 2], [], None]",
    "[[1, 2], [1], None]",
    "[[3, 4], [1], None]",
    "[[3, 4], [1], []]",
    "[[3, 4], [1], [1]]",
]
"""What readers may see of licenses, accounts and runs: each state follows the one before it."""


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> IcebergLake:
    use_catalog(tmp_path, monkeypatch.setenv)
    monkeypatch.setattr(iceberg_module, "WAITS", (0.0,) * 4)
    return IcebergLake(tmp_path)


def kill(directory: Path, first: int, every: int, *again: int) -> list[list[str]]:
    """Kill a writer at its steps; return what readers saw after both deaths and the repair."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.tables.iceberg_lake", str(directory), str(first), str(every),
         *map(str, again)],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    assert not done.returncode, done.stderr
    lines = done.stdout.splitlines()
    return [lines[i : i + 3] for i in range(0, len(lines), 3)]


def check_kills(found: list[list[str]], least: int) -> None:
    assert len(found) >= least
    for died, again, repaired in found:
        assert SEEN.index(died) <= SEEN.index(again)
        assert repaired == SEEN[-1]


def test_a_killed_writer_is_repaired_and_no_row_is_seen_early_or_twice(tmp_path: Path) -> None:
    check_kills(kill(tmp_path, 6, 13, 5), 3)


@pytest.mark.long
def test_a_writer_that_is_killed_anywhere_and_again_while_repairing(tmp_path: Path) -> None:
    found = kill(tmp_path, 1, 1, 1, 4, 12)
    check_kills(found, 100)
    assert {died for died, _, _ in found} >= set(SEEN[:-1])


def altered(monkeypatch: pytest.MonkeyPatch, commit: Callable[[Commit], Commit]) -> None:
    """Let the catalog commit in another way."""
    monkeypatch.setattr(SqlCatalog, "commit_table", commit(SqlCatalog.commit_table))


def once_before(work: Callable[[], None]) -> Callable[[Commit], Commit]:
    """Return a way to commit that first does some work, once."""
    left = [work]

    def way(commit: Commit) -> Commit:
        def committed(*args: Any) -> Any:
            if left:
                left.pop()()
            return commit(*args)

        return committed

    return way


def once_failing(error: Exception, *, lands: bool) -> Callable[[Commit], Commit]:
    """Return a way to commit that fails once, after the commit was made or before."""
    left = [error]

    def way(commit: Commit) -> Commit:
        def committed(*args: Any) -> Any:
            if lands or not left:
                done = commit(*args)
            if left:
                raise left.pop()
            return done

        return committed

    return way


def test_two_writers_that_show_the_same_change_show_it_once(
    lake: IcebergLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rival commits after this one has looked, and before it commits."""
    lake.format.show(lake.change(1, [lake.part(1)]))
    change = lake.change(2, [lake.part(2)])
    rival = IcebergLake(tmp_path)
    altered(monkeypatch, once_before(lambda: rival.format.show(change)))
    lake.format.show(change)
    assert lake.parts() == [1, 2]
    assert len(lake.table().snapshots()) == 2


def test_a_writer_that_was_stopped_does_not_undo_what_came_later(
    lake: IcebergLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = lake.part(1), lake.part(2)
    rival = IcebergLake(tmp_path)

    def take_over() -> None:
        rival.format.show(lake.change(1, [old]))
        rival.format.show(lake.change(2, [new], [old]))

    altered(monkeypatch, once_before(take_over))
    lake.format.show(lake.change(1, [old]))
    assert lake.parts() == [2]


def test_two_writers_that_create_a_table_create_it_once(
    lake: IcebergLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = lake.change(1, [lake.part(1)])
    rival = IcebergLake(tmp_path)
    altered(monkeypatch, once_before(lambda: rival.format.show(change)))
    lake.format.show(change)
    assert lake.parts() == [1]


def test_another_programs_commit_in_between_is_kept(
    lake: IcebergLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.format.show(lake.change(1, [lake.part(1)]))
    other = lake.table()
    altered(monkeypatch, once_before(lambda: other.append(other.scan().to_arrow())))
    lake.format.show(lake.change(2, [lake.part(2)]))
    assert lake.table().scan().count() == 60


LOST = [
    CommitStateUnknownException("504"),
    # A client below pyiceberg sent the commit twice, because the first answer was lost: Glue's.
    CommitFailedException("has been updated by another process"),
    requests.ConnectionError("reset by peer"),
]


@pytest.mark.parametrize("lands", [True, False])
@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
def test_a_commit_whose_answer_is_lost_is_made_once(
    lake: IcebergLake, monkeypatch: pytest.MonkeyPatch, error: Exception, lands: bool
) -> None:
    """The catalog's faults are simulated; the table is a real one."""
    old, new = lake.part(1), lake.part(2)
    lake.format.show(lake.change(1, [old]))
    altered(monkeypatch, once_failing(error, lands=lands))
    lake.format.show(lake.change(2, [new], [old]))
    assert lake.parts() == [2]
    assert len(lake.table().snapshots()) == 2


def test_a_catalog_that_never_answers_is_given_up(
    lake: IcebergLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def way(commit: Commit) -> Commit:
        def committed(*_: Any) -> Any:
            tries.append(1)
            raise requests.ConnectionError("https://user:hidden@host/v1?sig=hidden refused")

        return committed

    with monkeypatch.context() as context:
        altered(context, way)
        with pytest.raises(StoreError, match=r"Iceberg table local\.streamlic.licenses") as caught:
            lake.format.show(lake.change(1, [lake.part(1)]))
    assert len(tries) == 5
    assert "hidden" not in str(caught.value)
    lake.format.show(lake.change(1, [lake.part(1, table="runs")]))


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (ForbiddenError("no"), StoreError, "S3 Tables"),
        (OSError("AWS Error ACCESS_DENIED during PutObject"), StoreError, "S3 Tables"),
        (UnauthorizedError("no"), UsageError, "refused the credentials"),
    ],
)
def test_a_denial_is_not_repeated_and_says_what_helps(
    lake: IcebergLake,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    kind: type[StreamlicError],
    said: str,
) -> None:
    tries = []

    def way(commit: Commit) -> Commit:
        def committed(*_: Any) -> Any:
            tries.append(1)
            raise error

        return committed

    altered(monkeypatch, way)
    with pytest.raises(kind, match=said) as caught:
        lake.format.show(lake.change(1, [lake.part(1)]))
    assert len(tries) == 1
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301


def test_a_table_of_another_lake_is_refused(lake: IcebergLake) -> None:
    lake.format.show(lake.change(1, [lake.part(1)]))
    with pytest.raises(DatasetConflict, match="belongs to another lake"):
        lake.format.show(lake.change(1, [lake.part(2)], lake="lake-2"))
    assert lake.parts() == [1]


def test_a_table_that_lies_elsewhere_is_refused(lake: IcebergLake, tmp_path: Path) -> None:
    """So is a copy of a lake: it would change the tables of the first one."""
    lake.format.show(lake.change(1, [lake.part(1)]))
    copy = IcebergFormat(LocalStore(tmp_path / "copy"), "local")
    with pytest.raises(DatasetConflict, match=f"expected {tmp_path}/copy/licenses"):
        copy.show(lake.change(2, [lake.part(2)]))
    assert lake.parts() == [1]


def test_a_table_whose_commits_may_be_repeated_is_refused(lake: IcebergLake) -> None:
    lake.format.show(lake.change(1, [lake.part(1)]))
    change = lake.table().transaction().set_properties({"commit.retry.num-retries": "4"})
    change.commit_transaction()
    with pytest.raises(DatasetConflict, match=r"commit\.retry\.num-retries to be 0, got 4"):
        lake.format.show(lake.change(2, [lake.part(2)]))


def test_namespaces_keep_lakes_apart(lake: IcebergLake, tmp_path: Path) -> None:
    lake.format.show(lake.change(1, [lake.part(1)]))
    other = IcebergLake(tmp_path / "other")
    other.format = IcebergFormat(other.store, "local.prod")
    other.format.show(other.change(1, [other.part(2)], lake="lake-2"))
    assert (lake.parts(), other.parts()) == ([1], [2])


def test_a_catalog_that_is_not_configured_says_where_it_is_looked_for() -> None:
    with pytest.raises(UsageError, match="PYICEBERG_CATALOG__NO_SUCH__URI") as caught:
        open_catalog("no-such")
    assert ".pyiceberg.yaml" in str(caught.value)
    assert caught.value.parameter == "catalog"


def test_a_new_catalog_may_be_opened_by_many_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each creates the catalog's own tables; without another try, one in two rounds fails."""
    openers = 4
    for number in range(10):
        monkeypatch.setenv("PYICEBERG_CATALOG__NEW__URI", f"sqlite:///{tmp_path}/{number}.db")
        start = threading.Barrier(openers)

        def opened(_: int, start: threading.Barrier = start) -> OpenCatalog:
            start.wait()
            return open_catalog("new")

        with ThreadPoolExecutor(openers) as pool:
            found = list(pool.map(opened, range(openers)))
        assert [one.find("licenses") for one in found] == [None] * openers


@pytest.mark.parametrize(
    "uri",
    ["mysql://user:hidden@host/db", "postgresql://user:hidden@127.0.0.1:1/db?password=hidden"],
)
def test_no_secret_of_a_catalog_is_shown(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("PYICEBERG_CATALOG__BAD__URI", uri)
    with pytest.raises(StreamlicError) as caught:
        open_catalog("bad")
    assert "hidden" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_nothing_of_a_format_shows_secrets(
    lake: IcebergLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYICEBERG_CATALOG__LOCAL__S3__SECRET_ACCESS_KEY", "hidden")
    form = IcebergFormat(lake.store, "local")
    assert "hidden" not in f"{form!r} {form.catalog!r}"


def test_azure_needs_a_name_that_iceberg_knows() -> None:
    class Azure(LocalStore):
        def where(self, name: str = "") -> str:
            return f"az://lakes/{name}"

    with pytest.raises(UsageError, match="abfss://"):
        IcebergFormat(Azure("lake"), "local")
