"""What holds where other programs write to a lake's tables: for lakes of a table format."""

from __future__ import annotations

from typing import Any

import pytest

from streamlic.dataset.commit_log import load_lake
from streamlic.dataset.lake import names_in_tables
from streamlic.dataset.verify import verify_dataset
from streamlic.dataset.writer import DatasetWriter, WriteOptions
from streamlic.errors import DatasetConflict, IntegrityError
from streamlic.storage.base import Store
from streamlic.tables import upkeep
from streamlic.tables.base import LakeWriter
from streamlic.tables.completion import Ending, complete_run
from streamlic.tables.formats import unlike_the_log
from streamlic.tables.kept_accounts import carrying
from streamlic.tables.runs import open_run
from streamlic.tables.upkeep import compact, compact_bytes, expire
from tests.support.batches import SCHEMA
from tests.tables.lake_tests import POINTS, LakeTests, commit, complete, ids, part, start

OPTIONS = WriteOptions()
ASKED: dict[str, Any] = {"request": {"q": 1}, "accounts": ["a", None], "mode": "append"}


class TableFormatTests(LakeTests):
    """The promises of every lake, and those of tables with a log or a catalog of their own."""

    def delete_rows(self, store: Store, where: str) -> None:
        """Delete licenses, as a user does in SQL."""
        raise NotImplementedError

    def restore(self, store: Store) -> None:
        """Let readers of ``licenses`` see again what they saw before the last change."""
        raise NotImplementedError

    def drop(self, store: Store) -> None:
        """Make ``licenses`` vanish, and leave its part files where they are."""
        raise NotImplementedError

    def nights(self, lake: LakeWriter, count: int) -> list[str]:
        """Append nights of 20 licenses each; return the ids of the runs."""
        runs = []
        for number in range(count):
            run = start(lake)
            complete(lake, run, part(lake, run, 20 * number))
            runs.append(run.id)
        return runs

    def test_runs_are_added_to_a_table_that_another_program_rewrote(self, lake: LakeWriter) -> None:
        self.nights(lake, 2)
        self.delete_rows(lake.store, "id = 'license-0'")
        again = self.writer(lake.store)
        run = open_run(again, **ASKED)
        complete(again, run, part(again, run, 40))
        assert self.visible(lake.store) == ids(0, 20, 40)[1:]

    def test_a_run_that_cannot_replace_rows_is_refused_before_it_reads_anything(
        self, lake: LakeWriter
    ) -> None:
        self.nights(lake, 1)
        self.delete_rows(lake.store, "id = 'license-0'")
        with pytest.raises((DatasetConflict, IntegrityError), match="another program"):
            open_run(self.writer(lake.store), **{**ASKED, "mode": "overwrite"})
        open_run(self.writer(lake.store), **ASKED)

    def test_a_version_that_was_restored_is_not_replaced(self, lake: LakeWriter) -> None:
        """Readers see rows of a run that was replaced: nobody would hide them any more."""
        [old] = self.nights(lake, 1)
        new = start(lake, "overwrite", [old])
        complete(lake, new, part(lake, new, 20))
        self.restore(lake.store)
        assert self.visible(lake.store) == ids(0)
        with pytest.raises((DatasetConflict, IntegrityError), match="another program has r"):
            open_run(self.writer(lake.store), **{**ASKED, "mode": "overwrite"})
        added = self.writer(lake.store)
        run = open_run(added, **ASKED)
        complete(added, run, part(added, run, 40))
        assert self.visible(lake.store) == ids(0, 40)
        assert len(unlike_the_log(lake.store)) == 2

    def test_rows_that_were_deleted_are_not_carried_over(self, lake: LakeWriter) -> None:
        """Somebody had to delete them: they must not come back by themselves."""
        old = start(lake)
        complete(lake, old, part(lake, old, 0), points=POINTS)
        self.delete_rows(lake.store, "true")
        again = self.writer(lake.store)
        asked = {**ASKED, "accounts": [None], "mode": "overwrite"}
        run = open_run(again, **asked)
        keeps = carrying(lake.store, run, {}, batch_bytes=2_000)
        assert keeps
        writer = DatasetWriter(lake.store, run, schema=SCHEMA)
        with pytest.raises(DatasetConflict, match="they would come back; absent_accounts"):
            complete_run(again, run, writer, Ending(engine="fast", keeps=keeps))
        writer.discard()
        assert self.visible(lake.store) == []
        again = self.writer(lake.store)
        run = open_run(again, **asked)
        keeps = carrying(lake.store, run, {}, batch_bytes=2_000, keeps_absent=False)
        writer = DatasetWriter(lake.store, run, schema=SCHEMA)
        complete_run(again, run, writer, Ending(engine="fast", keeps=keeps))
        assert self.visible(lake.store) == []
        assert unlike_the_log(lake.store) == []

    def test_what_cannot_be_shown_is_not_promised(self, lake: LakeWriter) -> None:
        """Else no later writer could do anything else with the lake."""
        [old] = self.nights(lake, 1)
        run = start(lake, "overwrite", [old])
        self.delete_rows(lake.store, "id = 'license-0'")
        with pytest.raises((DatasetConflict, IntegrityError), match="another program"):
            complete(lake, run, part(lake, run, 20))
        again = self.writer(lake.store)
        added = open_run(again, **ASKED, restart=True)
        complete(again, added, part(again, added, 40))
        assert self.visible(lake.store) == ids(0, 40)[1:]

    def test_compacting_brings_no_row_back(self, lake: LakeWriter) -> None:
        """The files that had them are still there, for earlier versions of the table."""
        runs = self.nights(lake, 4)
        self.delete_rows(lake.store, f"_run = '{runs[0]}'")
        self.delete_rows(lake.store, "id = 'license-20'")
        seen = ids(20, 40, 60)[1:]
        assert self.visible(lake.store) == seen
        planned = compact_bytes(lake.store, OPTIONS)
        sizes = compact(lake.store, OPTIONS).tables["licenses"]
        assert self.visible(lake.store) == seen
        assert sizes.rewritten_files == 2
        parts = [file.bytes for run in lake.lake.oldest_first[2:] for file in run.license_files]
        assert planned >= sum(parts)
        self.nights(self.opened(lake.store), 1)

    def test_a_compaction_that_was_overtaken_by_a_deletion_is_not_promised(
        self, lake: LakeWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        runs = self.nights(lake, 2)
        rewrite = LakeWriter.rewrite

        def late(*given: Any) -> None:
            self.delete_rows(lake.store, f"_run = '{runs[0]}'")
            rewrite(*given)

        with monkeypatch.context() as patch:
            patch.setattr(LakeWriter, "rewrite", late)
            with pytest.raises((DatasetConflict, IntegrityError), match="would come back"):
                compact(lake.store, OPTIONS)
        compact(lake.store, OPTIONS)
        assert self.visible(lake.store) == ids(20)

    def test_expiring_brings_no_row_back(self, lake: LakeWriter) -> None:
        runs = self.nights(lake, 3)
        self.delete_rows(lake.store, f"_run = '{runs[0]}'")
        expire(lake.store, keep=2, options=OPTIONS)
        compact(lake.store, OPTIONS)
        self.delete_rows(lake.store, "true")
        with pytest.raises(DatasetConflict, match="they would come back"):
            expire(lake.store, keep=1, options=OPTIONS)
        assert self.visible(lake.store) == []
        assert load_lake(lake.store).pending is None

    def test_a_table_that_is_gone_is_not_created_with_less(self, lake: LakeWriter) -> None:
        self.nights(lake, 2)
        unfinished = start(lake)
        commit(lake, unfinished, part(lake, unfinished, 40), points=POINTS)
        self.drop(lake.store)
        with pytest.raises(IntegrityError, match="part files of this lake were in it"):
            open_run(self.writer(lake.store), **ASKED)
        again = self.opened(lake.store)
        run = again.lake.runs[unfinished.id]
        with pytest.raises(IntegrityError, match="part files of this lake were in it"):
            complete(again, run, part(again, run, 60))
        assert not load_lake(lake.store).runs[run.id].is_complete

    @pytest.mark.parametrize("publish", ["complete", "commits"])
    def test_a_run_is_started_again_after_its_file_arrives_late(
        self, store: Store, publish: str
    ) -> None:
        """The upload of a writer that was killed may be carried out when its run is gone."""
        lake = self.writer(store)
        run = open_run(lake, **ASKED, publish=publish)
        commit(lake, run, part(lake, run, 0), points=POINTS)
        late = part(lake, run, 20)
        data = store.read(late.name)
        again = self.writer(store)
        other = open_run(again, **ASKED, publish=publish, restart=True)
        store.create(late.name, data)
        assert self.visible(store) == []
        complete(again, other, part(again, other, 40))
        third = self.writer(store)
        run = open_run(third, **{**ASKED, "request": {"q": 2}})
        complete(third, run, part(third, run, 60))
        assert self.visible(store) == ids(40, 60)
        assert unlike_the_log(store) == []
        assert not [one for one in verify_dataset(store).problems if "commit log" in one]

    # Old versions

    def test_a_dry_run_says_which_old_files_an_expiry_deletes(
        self, lake: LakeWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(upkeep, "KEPT_VERSIONS_DAYS", 0)
        self.nights(lake, 2)
        compact(lake.store, OPTIONS)
        self.nights(self.opened(lake.store), 1)
        before = names_in_tables(lake.store)
        planned = expire(lake.store, keep=3, options=OPTIONS, dry_run=True).old_files
        assert names_in_tables(lake.store) == before
        done = expire(lake.store, keep=3, options=OPTIONS).old_files
        assert planned == done == len(before) - len(names_in_tables(lake.store)) == 6
