"""What every table format must keep: subclass ``LakeTests`` and give it a ``lake``."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from streamlic.dataset.commit_log import load_lake, load_runs
from streamlic.dataset.lake import STAGING, names_in_tables
from streamlic.dataset.records import Carried, Failed, PartFile, Promise, ResumePoint, WantedFormat
from streamlic.dataset.run_state import RunState
from streamlic.dataset.run_tables import write_run_tables
from streamlic.dataset.verify import verify_dataset
from streamlic.dataset.writer import DatasetWriter
from streamlic.errors import DatasetConflict, IntegrityError
from streamlic.storage.base import Store
from streamlic.storage.local import LocalStore
from streamlic.tables.base import LakeWriter
from streamlic.tables.runs import open_run
from tests.support.batches import SCHEMA, license_batch
from tests.support.killed_store import Killed, KilledStore

POINTS: dict[str | None, ResumePoint] = {
    "a": ResumePoint(cursor="next", rows=20, pages=1),
    None: ResumePoint(is_done=True),
}
_numbers = itertools.count()


def start(
    lake: LakeWriter,
    mode: str = "append",
    replaces: list[str] | None = None,
    *,
    publish: str = "complete",
    clock: timedelta = timedelta(),
) -> RunState:
    """Start a run; the machine's ``clock`` is ahead by so much."""
    now = datetime.now(UTC) + clock
    return lake.begin(
        RunState(
            id=f"{now:%Y%m%dT%H%M%SZ}-{next(_numbers):08x}",
            started_at=now,
            request={"q": 1},
            accounts=["a", None],
            mode=mode,
            replaces=replaces or [],
            publish=publish,
            format=lake.format,
        )
    )


def part(lake: LakeWriter, run: RunState, first: int) -> PartFile:
    """Stage a part file of the rows ``first`` to ``first + 19``."""
    writer = DatasetWriter(lake.store, run, schema=SCHEMA)
    writer.write_whole(license_batch(first, 20), [("a", 20)])
    [file] = writer.finish()
    return file


def commit(lake: LakeWriter, run: RunState, *files: PartFile, **promise: Any) -> None:
    lake.commit(run, Promise(files=files, **promise))


def complete(lake: LakeWriter, run: RunState, *files: PartFile, **promise: Any) -> None:
    """Commit the end of a run, with its rows of the other tables."""
    end = Promise(files=files, is_complete=True, **promise)
    rows = write_run_tables(lake.store, run.after(end), engine="fast", compression="none")
    commit(lake, run, *files, *rows, is_complete=True, **promise)


def ids(*firsts: int) -> list[str]:
    return sorted(f"license-{i}" for first in firsts for i in range(first, first + 20))


class LakeTests:
    """The promises of ``streamlic/tables/base.py``, each as a test."""

    format = WantedFormat()

    def visible(self, store: Store) -> list[str]:
        """Return the ids of licenses that a reader sees, sorted."""
        raise NotImplementedError

    def writer(self, store: Store) -> LakeWriter:
        return LakeWriter(store, self.format)

    def opened(self, store: Store) -> LakeWriter:
        lake = self.writer(store)
        lake.open()
        return lake

    def copied(self, start: Path, name: str) -> Path:
        """Return a lake on the local disk that is as ``start`` was at the first call."""
        dest = start.with_name(name)
        shutil.copytree(start, dest)
        return dest

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return LocalStore(tmp_path / "lake")

    @pytest.fixture
    def lake(self, store: Store) -> LakeWriter:
        return self.opened(store)

    def test_an_empty_lake_has_no_runs(self, store: Store) -> None:
        assert load_runs(store) == self.writer(store).open() == []
        assert self.visible(store) == []

    @pytest.mark.parametrize("publish", ["complete", "commits"])
    def test_a_commit_keeps_resume_points_and_shows_rows_if_it_is_to(
        self, lake: LakeWriter, publish: str
    ) -> None:
        run = start(lake, publish=publish)
        commit(lake, run, part(lake, run, 0), points=POINTS)
        assert self.visible(lake.store) == (ids(0) if publish == "commits" else [])
        assert load_runs(lake.store) == [run]
        assert (run.rows, run.commits, run.points) == (20, 1, POINTS)
        complete(lake, run, part(lake, run, 20))
        assert self.visible(lake.store) == ids(0, 20)

    def test_a_complete_run_is_loaded_as_it_was_committed(self, lake: LakeWriter) -> None:
        run = start(lake)
        commit(lake, run, part(lake, run, 0), points=POINTS)
        complete(
            lake,
            run,
            part(lake, run, 20),
            carried_over={"b": Carried(rows=1, reason="skipped")},
            failed={"c": Failed(kind="ApiError", message="no", retryable=False)},
        )
        assert self.visible(lake.store) == ids(0, 20)
        assert load_runs(lake.store) == [run]
        [again] = self.writer(lake.store).open()
        assert (again.id, again.rows, again.files) == (run.id, run.rows, run.files)
        assert run.is_finished
        assert run.carried_over["b"].rows == 1
        assert run.failed["c"].kind == "ApiError"

    def test_staged_files_are_not_visible(self, lake: LakeWriter) -> None:
        run = start(lake)
        file = part(lake, run, 0)
        assert self.visible(lake.store) == []
        self.writer(lake.store).open()
        assert self.visible(lake.store) == []
        assert not lake.store.exists(run.staged(file.name))

    def test_a_run_is_visible_when_it_is_complete_and_replaces_others(
        self, lake: LakeWriter
    ) -> None:
        old = start(lake)
        complete(lake, old, part(lake, old, 0))
        new = start(lake, "overwrite", [old.id])
        commit(lake, new, part(lake, new, 20))
        lake = self.opened(lake.store)
        assert self.visible(lake.store) == ids(0)
        new = lake.lake.runs[new.id]
        complete(lake, new, part(lake, new, 40))
        assert self.visible(lake.store) == ids(20, 40)
        runs = load_runs(lake.store)
        assert [run.is_replaced for run in runs] == [True, False]
        assert not [file for file in runs[0].live_files if file in runs[0].license_files]

    def test_superseded_files_never_become_visible(self, lake: LakeWriter) -> None:
        run = start(lake, "overwrite")
        first = part(lake, run, 0)
        commit(lake, run, first)
        complete(lake, run, part(lake, run, 20), superseded=[first.name])
        assert self.visible(lake.store) == ids(20)
        assert first not in load_runs(lake.store)[0].files
        assert first.name not in names_in_tables(lake.store), "the next run would refuse the lake"

    def test_a_removed_run_is_gone_with_its_rows(self, lake: LakeWriter) -> None:
        runs = [start(lake), start(lake)]
        for first, run in zip((0, 20), runs, strict=True):
            complete(lake, run, part(lake, run, first))
        for _ in range(2):
            lake.remove(runs[0].id)
            assert self.visible(lake.store) == ids(20)
            assert load_runs(lake.store) == [runs[1]]

    def test_an_unfinished_run_that_is_removed_leaves_nothing(self, lake: LakeWriter) -> None:
        run = start(lake)
        file = part(lake, run, 0)
        commit(lake, run, file)
        lake.remove(run.id)
        assert (self.visible(lake.store), load_runs(lake.store)) == ([], [])
        assert not lake.store.exists(run.staged(file.name))

    def test_a_run_that_readers_saw_can_be_started_again(self, store: Store) -> None:
        asked: dict[str, Any] = {"request": {}, "accounts": ["a", None], "publish": "commits"}
        lake = self.writer(store)
        run = open_run(lake, **asked)
        commit(lake, run, part(lake, run, 0), points=POINTS)
        assert self.visible(store) == ids(0)
        again = self.writer(store)
        run = open_run(again, **asked, restart=True)
        assert self.visible(store) == []
        complete(again, run, part(again, run, 20), points=POINTS)
        assert self.visible(store) == ids(20)
        assert verify_dataset(store).is_sound

    def test_a_promised_file_that_is_missing_is_an_error(self, lake: LakeWriter) -> None:
        run = start(lake, "overwrite")
        file = part(lake, run, 0)
        commit(lake, run, file)
        lake.store.delete(run.staged(file.name))
        with pytest.raises(IntegrityError, match=file.name):
            self.writer(lake.store).open()
        self.writer(lake.store).open(leaves_unfinished=True)

    def test_a_lake_keeps_its_format(self, lake: LakeWriter) -> None:
        run = start(lake)
        complete(lake, run, part(lake, run, 0))
        other = WantedFormat(name="delta" if self.format.name != "delta" else "parquet")
        with pytest.raises(
            DatasetConflict, match=f"is a lake of {self.format.name or 'parquet'} tables"
        ):
            LakeWriter(lake.store, other).open()
        assert LakeWriter(lake.store).open() == load_lake(lake.store).oldest_first

    # Two writers

    def test_a_writer_that_was_overtaken_ends_and_leaves_nothing(self, lake: LakeWriter) -> None:
        run = start(lake)
        first = part(lake, run, 0)
        commit(lake, run, first, points=POINTS)
        second = part(lake, run, 20)
        rival = self.opened(lake.store)
        [resumed] = rival.runs
        with pytest.raises(DatasetConflict, match="another writer has taken over"):
            commit(lake, run, second)
        assert not lake.store.exists(run.staged(second.name))
        third = part(rival, resumed, 20)
        assert third.name != second.name
        complete(rival, resumed, third)
        assert self.visible(lake.store) == ids(0, 20)

    def test_a_writer_that_wakes_up_after_its_rival_has_ended_shows_nothing(
        self, lake: LakeWriter
    ) -> None:
        """It has written its record, and is stopped before it shows it."""
        run = start(lake)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LakeWriter, "_show", lambda *_: None)
            complete(lake, run, part(lake, run, 0))
        record = lake.lake.pending
        assert record is not None
        rival = self.opened(lake.store)
        assert self.visible(lake.store) == ids(0)
        rival.remove(run.id)
        with pytest.raises((DatasetConflict, IntegrityError)):
            lake._show(record)
        assert self.visible(lake.store) == []

    def test_a_writer_that_wakes_up_deletes_nothing_of_its_rival(self, lake: LakeWriter) -> None:
        """It was stopped before it cleared away what it had staged."""
        run = start(lake)
        rival = self.opened(lake.store)
        file = part(rival, rival.lake.runs[run.id], 0)
        lake._sweep()
        complete(rival, rival.lake.runs[run.id], file)
        assert self.visible(lake.store) == ids(0)

    # Death

    def test_a_run_that_died_before_its_report_says_so_once(self, tmp_path: Path) -> None:
        found = []
        run = start(self.opened(LocalStore(tmp_path / "start")))
        for step in itertools.count(1):
            dest = self.copied(tmp_path / "start", str(step))
            killed = self.writer(KilledStore(dest, step))
            if not self._dies(partial(self._complete, killed, run.id, 0)):
                break
            [again] = self.writer(LocalStore(dest)).open()
            assert again.is_complete or not again.completed_unreported
            assert again.rows == (20 if again.is_complete else 0)
            assert self.visible(LocalStore(dest)) == (ids(0) if again.is_complete else [])
            [once_more] = self.writer(LocalStore(dest)).open()
            assert not once_more.completed_unreported
            found.append(again.completed_unreported)
        assert set(found) == {False, True}

    def test_an_overwrite_that_dies_at_any_operation_is_recovered(self, tmp_path: Path) -> None:
        """Then recovery dies too, at each of its operations, before it completes."""
        start_store = LocalStore(tmp_path / "start")
        lake = self.opened(start_store)
        old = start(lake)
        complete(lake, old, part(lake, old, 0))
        new = start(lake, "overwrite", [old.id])
        commit(lake, new, part(lake, new, 20))
        for step in itertools.count(1):
            dest = self.copied(tmp_path / "start", str(step))
            killed = self.writer(KilledStore(dest, step))
            if not self._dies(partial(self._complete, killed, new.id, 40)):
                break
            for again in itertools.count(1):
                recovering = self.writer(KilledStore(dest, again))
                if not self._dies(recovering.open):
                    break
            runs = load_runs(LocalStore(dest))
            is_complete = {run.id for run in runs if run.is_replaced} == {old.id}
            seen = self.visible(LocalStore(dest))
            assert seen == (ids(20, 40) if is_complete else ids(0)), f"step {step}"
            assert not LocalStore(dest).names(STAGING) or not is_complete
        assert step > 5

    def _complete(self, lake: LakeWriter, run_id: str, first: int) -> None:
        lake.open()
        run = lake.lake.runs[run_id]
        complete(lake, run, part(lake, run, first))

    def _dies(self, work: Callable[[], object]) -> bool:
        try:
            work()
        except Killed:
            return True
        return False
