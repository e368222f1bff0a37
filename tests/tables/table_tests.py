"""What every table must keep: subclass ``TableTests`` and give it a ``table``."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from streamlic.dataset.commit_log import create_run
from streamlic.dataset.records import Carried, Failed, PartFile, ResumePoint
from streamlic.dataset.run_state import RunState
from streamlic.dataset.writer import DatasetWriter
from streamlic.errors import IntegrityError
from streamlic.storage.local import LocalStore
from streamlic.tables.base import Table
from tests.support.batches import SCHEMA, license_batch
from tests.support.killed_store import Killed, KilledStore

POINTS = {"a": ResumePoint(cursor="next", rows=20, pages=1), None: ResumePoint(is_done=True)}


def start(
    table: Table,
    mode: str = "append",
    replaces: list[str] | None = None,
    *,
    publish: str = "complete",
) -> RunState:
    return create_run(
        table.store,
        request={"q": 1},
        accounts=["a", None],
        mode=mode,
        replaces=replaces or [],
        publish=publish,
    )


def part(table: Table, run: RunState, first: int) -> PartFile:
    """Stage a part file of the rows ``first`` to ``first + 19``."""
    writer = DatasetWriter(table.store, run, schema=SCHEMA)
    writer.write_whole(license_batch(first, 20), [("a", 20)])
    [file] = writer.finish()
    return file


def ids(*firsts: int) -> list[str]:
    return sorted(f"license-{i}" for first in firsts for i in range(first, first + 20))


class TableTests:
    """The promises of ``streamlic/tables/base.py``, each as a test."""

    def open_table(self, store: LocalStore) -> Table:
        """Return the table in a store."""
        raise NotImplementedError

    def visible(self, table: Table) -> list[str]:
        """Return the ids that a reader sees, sorted."""
        raise NotImplementedError

    @pytest.fixture
    def table(self, tmp_path: Path) -> Table:
        return self.open_table(LocalStore(tmp_path / "table"))

    def test_an_empty_table_has_no_runs(self, table: Table) -> None:
        assert table.load() == table.recover() == []
        assert self.visible(table) == []

    @pytest.mark.parametrize("publish", ["complete", "commits"])
    def test_a_commit_keeps_resume_points_and_shows_rows_if_it_is_to(
        self, table: Table, publish: str
    ) -> None:
        run = start(table, publish=publish)
        table.commit(run, [part(table, run, 0)], POINTS, is_complete=False)
        assert self.visible(table) == (ids(0) if publish == "commits" else [])
        assert table.load() == [run]
        assert (run.rows, run.commits, run.points) == (20, 1, POINTS)
        table.commit(run, [part(table, run, 20)], {}, is_complete=True)
        assert self.visible(table) == ids(0, 20)

    def test_a_complete_run_is_loaded_as_it_was_committed(self, table: Table) -> None:
        run = start(table)
        table.commit(run, [part(table, run, 0)], POINTS, is_complete=False)
        table.commit(
            run,
            [part(table, run, 20)],
            {},
            is_complete=True,
            carried_over={"b": Carried(rows=1, reason="skipped")},
            failed={"c": Failed(kind="ApiError", message="no", retryable=False)},
        )
        assert self.visible(table) == ids(0, 20)
        assert table.load() == [run]
        [recovered] = table.recover()
        assert (recovered.id, recovered.rows, recovered.files) == (run.id, run.rows, run.files)
        assert run.is_complete
        assert run.carried_over["b"].rows == 1
        assert run.failed["c"].kind == "ApiError"

    def test_staged_files_are_not_visible(self, table: Table) -> None:
        run = start(table)
        part(table, run, 0)
        assert self.visible(table) == []
        table.recover()
        assert self.visible(table) == []
        assert table.store.names(run.staging) == []

    def test_a_run_is_visible_when_it_is_complete_and_replaces_others(self, table: Table) -> None:
        old = start(table)
        table.commit(old, [part(table, old, 0)], {}, is_complete=True)
        new = start(table, "overwrite", [old.id])
        table.commit(new, [part(table, new, 20)], {}, is_complete=False)
        table.recover()
        assert self.visible(table) == ids(0)
        table.commit(new, [part(table, new, 40)], {}, is_complete=True)
        assert self.visible(table) == ids(20, 40)
        assert [run.is_replaced for run in table.load()] == [True, False]
        assert table.load()[0].live_files == []

    def test_superseded_files_never_become_visible(self, table: Table) -> None:
        run = start(table, "overwrite")
        first = part(table, run, 0)
        table.commit(run, [first], {}, is_complete=False)
        last = part(table, run, 20)
        table.commit(run, [last], {}, is_complete=True, superseded=[first.name])
        assert self.visible(table) == ids(20)
        assert table.load()[0].files == [last]

    def test_a_removed_run_is_gone_with_its_rows(self, table: Table) -> None:
        runs = [start(table), start(table)]
        for first, run in zip((0, 20), runs, strict=True):
            table.commit(run, [part(table, run, first)], {}, is_complete=True)
        for _ in range(2):
            table.remove(runs[0].id)
            assert self.visible(table) == ids(20)
            assert table.load() == [runs[1]]

    def test_a_promised_file_that_is_missing_is_an_error(self, table: Table) -> None:
        run = start(table, "overwrite")
        file = part(table, run, 0)
        table.commit(run, [file], {}, is_complete=False)
        table.store.delete(run.staged(file.name))
        with pytest.raises(IntegrityError, match=file.name):
            table.recover()
        table.recover(leaves_unfinished=True)

    def test_a_run_that_died_before_its_report_says_so_once(self, tmp_path: Path) -> None:
        found = []
        for step in itertools.count(1):
            dest = tmp_path / str(step)
            table = self.open_table(LocalStore(dest))
            run = start(table)
            file = part(table, run, 0)
            killed = self.open_table(KilledStore(dest, step))
            if not self._dies(partial(killed.commit, run, [file], {}, is_complete=True)):
                break
            [again] = table.recover()
            assert again.completed_unreported is again.is_complete
            assert again.rows == (20 if again.is_complete else 0)
            assert self.visible(table) == (ids(0) if again.is_complete else [])
            assert not any(one.completed_unreported for one in table.recover())
            found.append(again.is_complete)
        assert set(found) == {False, True}

    def test_an_overwrite_that_dies_at_any_operation_is_recovered(self, tmp_path: Path) -> None:
        """Then recovery dies too, at each of its operations, before it completes."""
        start_table = self.open_table(LocalStore(tmp_path / "start"))
        old = start(start_table)
        start_table.commit(old, [part(start_table, old, 0)], {}, is_complete=True)
        new = start(start_table, "overwrite", [old.id])
        start_table.commit(new, [part(start_table, new, 20)], {}, is_complete=False)
        file = part(start_table, new, 40)
        for step in itertools.count(1):
            dest = tmp_path / str(step)
            shutil.copytree(tmp_path / "start", dest)
            [run] = [run for run in start_table.load() if run.id == new.id]
            killed = self.open_table(KilledStore(dest, step))
            if not self._dies(partial(killed.commit, run, [file], {}, is_complete=True)):
                break
            for again in itertools.count(1):
                recovering = self.open_table(KilledStore(dest, again))
                if not self._dies(recovering.recover):
                    break
            table = self.open_table(LocalStore(dest))
            is_complete = {run.id for run in table.load() if run.is_replaced} == {old.id}
            assert self.visible(table) == (ids(20, 40) if is_complete else ids(0)), f"step {step}"
        assert step > 5

    def _dies(self, work: Callable[[], object]) -> bool:
        try:
            work()
        except Killed:
            return True
        return False
