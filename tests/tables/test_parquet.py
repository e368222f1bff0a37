"""The table of plain Parquet files: the promises of every table, and its names."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from streamlic.dataset.lake import run_of
from streamlic.dataset.records import ResumePoint
from streamlic.dataset.writer import DatasetWriter
from streamlic.errors import DatasetConflict
from streamlic.storage.base import Store
from streamlic.storage.local import LocalStore
from streamlic.tables.base import LakeWriter
from streamlic.tables.completion import Ending, complete_run
from streamlic.tables.kept_accounts import carrying
from tests.support.batches import SCHEMA, expected_ids, land, visible_ids
from tests.support.killed_store import Killed, KilledStore
from tests.tables.lake_tests import LakeTests, complete, part, start


class TestParquetLake(LakeTests):
    def visible(self, store: Store) -> list[str]:
        return visible_ids(Path(store.where()))


def test_readers_find_the_part_files_by_their_names(tmp_path: Path) -> None:
    run = land(tmp_path, "new")
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.parquet"))
    assert found == sorted(file.name for file in run.files)
    assert [len(run.files_of(table)) for table in ("accounts", "runs")] == [1, 1]
    assert all(run_of(file.name) == run.id for file in run.files)


def test_staged_files_are_not_found_by_readers_that_search_a_tree(tmp_path: Path) -> None:
    land(tmp_path, "new", pages=4)
    assert list(tmp_path.rglob("*.staged"))
    assert not list(tmp_path.rglob("*.parquet"))


def test_the_newest_run_in_runs_is_whole_at_every_step_of_an_overwrite(tmp_path: Path) -> None:
    """A reader that takes the newest run finds its rows: those that it replaces go last."""
    start = tmp_path / "start"
    tags = {land(start, tag, mode="overwrite", pages=pages).id: tag
            for tag, pages in (("old", None), ("new", 5))}  # fmt: skip
    found = []
    for step in itertools.count(1):
        dest = tmp_path / str(step)
        shutil.copytree(start, dest)
        try:
            land(dest, "new", mode="overwrite", store=KilledStore(dest, step))
        except Killed:
            runs = pq.read_table(dest / "runs").sort_by("started_at")
            newest: str = runs["_run"].to_pylist()[-1]
            assert visible_ids(dest, newest) == expected_ids(tags[newest]), f"step {step}"
            found.append(tags[newest])
        else:
            break
    assert [tag for tag, _ in itertools.groupby(found)] == ["old", "new"]


def test_a_writer_says_that_it_was_overtaken_if_it_misses_what_its_rival_deleted(
    tmp_path: Path,
) -> None:
    lake = LakeWriter(LocalStore(tmp_path))
    lake.open()
    old = start(lake)
    complete(lake, old, part(lake, old, 0), points={"z": ResumePoint(is_done=True, rows=20)})
    new = start(lake, "overwrite", [old.id])
    keeps = carrying(lake.store, new, {}, batch_bytes=2_000)
    rival = LakeWriter(lake.store)
    rival.open()
    rival.remove(old.id)
    writer = DatasetWriter(lake.store, new, schema=SCHEMA)
    with pytest.raises(DatasetConflict, match="another writer has taken over"):
        complete_run(lake, new, writer, Ending(engine="fast", keeps=keeps))
