"""Any sequence of appends, overwrites, failures and deaths: readers see what the promise says.

The model is what readers must see: the ids of each account. A job that dies is resumed by the same
command, or discarded with ``--restart``.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from streamlic.dataset.commit_log import load_runs
from streamlic.dataset.verify import verify_dataset
from streamlic.errors import DatasetConflict
from streamlic.storage.local import LocalStore
from tests.support.batches import PAGES, expected_ids, land, visible_ids
from tests.support.killed_store import Killed, KilledStore

ACCOUNTS: list[str | None] = ["a", "b", None]
Rows = dict[str | None, Counter[str]]


@dataclass(frozen=True)
class Job:
    """One command: ``failing`` accounts fail after so many pages, none of which readers see."""

    tag: str
    mode: str
    accounts: tuple[str | None, ...]
    failing: tuple[tuple[str | None, int], ...]

    def after(self, before: Rows) -> Rows:
        """Return what readers must see when the job is complete."""
        rows = {account: Counter(ids) for account, ids in before.items()}
        failing = dict(self.failing)
        for account in self.accounts:
            if account in failing:
                continue
            read = Counter(expected_ids(self.tag, [account], PAGES))
            before_read = rows.get(account, Counter()) if self.mode == "append" else Counter()
            rows[account] = before_read + read
        return rows


@st.composite
def jobs(draw: st.DrawFn) -> Job:
    accounts = draw(st.lists(st.sampled_from(ACCOUNTS), min_size=1, max_size=3, unique=True))
    failing = draw(st.lists(st.sampled_from(accounts), max_size=1))
    pages = draw(st.integers(0, PAGES - 1))
    mode = draw(st.sampled_from(["append", "overwrite"]))
    return Job("", mode, tuple(accounts), tuple((account, pages) for account in failing))


STEPS = st.none() | st.integers(1, 60)
"""Before which change to the store the process dies, if before any."""


class Lake(RuleBasedStateMachine):
    """One dataset, its model, and the job that died, if one did."""

    @initialize()
    def start(self) -> None:
        self._place = tempfile.TemporaryDirectory()
        self._no_sync = mock.patch.object(os, "fsync", return_value=None)
        self._no_sync.start()
        self.dest = Path(self._place.name)
        self.rows: Rows = {}
        self.dead: Job | None = None
        self.discarded: tuple[str, ...] = ()
        """How the ids start of runs whose removal died: their rows may go one file at a time."""
        self.number = 0

    def teardown(self) -> None:
        if hasattr(self, "_place"):
            self._no_sync.stop()
            self._place.cleanup()

    @precondition(lambda self: self.dead is None)
    @rule(job=jobs(), step=STEPS)
    def land(self, job: Job, step: int | None) -> None:
        self._run(self._named(job), step)

    @precondition(lambda self: self.dead is not None)
    @rule(step=STEPS)
    def resume(self, step: int | None) -> None:
        assert self.dead
        self._run(self.dead, step)

    @precondition(lambda self: self.dead is not None)
    @rule(job=jobs(), step=STEPS)
    def restart(self, job: Job, step: int | None) -> None:
        """An unfinished run is discarded. A complete one stays, and is reported first."""
        assert self.dead
        if self._is_complete(self.dead):
            self._run(self.dead, None)
        self._run(self._named(job), step, restart=True)

    @precondition(lambda self: self.dead is not None)
    @rule()
    def another_command_is_refused(self) -> None:
        """Unless the dead job came to nothing; and it discards nothing."""
        assert self.dead
        runs = [run for run in load_runs(LocalStore(self.dest)) if not run.is_complete]
        if not any(run.commits for run in runs):
            return
        before = visible_ids(self.dest)
        with pytest.raises(DatasetConflict, match="restart=True"):
            land(self.dest, "another", mode="append")
        assert set(before) <= set(visible_ids(self.dest))

    @invariant()
    def readers_see_what_was_promised(self) -> None:
        if not hasattr(self, "rows"):
            return
        before, seen = total(self.rows), Counter(visible_ids(self.dest))
        if self.dead is None:
            assert seen == before
            if self.number:
                report = verify_dataset(LocalStore(self.dest))
                assert (report.problems, report.notes) == ([], [])
            return
        after = total(self.dead.after(self.rows))
        seen = Counter(i for i in seen.elements() if not i.startswith(self.discarded))
        if self.dead.mode == "append":
            assert before <= seen <= after
        elif self._is_complete(self.dead):  # Until the replaced runs are gone, both may be seen.
            assert set(before) <= set(seen) or set(after) <= set(seen)
            assert set(seen) <= set(before) | set(after)
        else:
            assert seen == before

    def _run(self, job: Job, step: int | None, *, restart: bool = False) -> None:
        store = KilledStore(self.dest, step)
        try:
            land(
                self.dest,
                job.tag,
                mode=job.mode,
                accounts=[*job.accounts],
                failing=dict(job.failing),
                restart=restart,
                store=store,
            )
        except Killed:
            # It may have died before it discarded the other job.
            if self.dead and not self._runs(self.dead):
                self.discarded += (f"{self.dead.tag}-",)
                self.dead = None
            self.dead = self.dead or job
        else:
            self.rows = job.after(self.rows)
            self.dead = None
            self.discarded = ()

    def _named(self, job: Job) -> Job:
        self.number += 1
        return replace(job, tag=f"job-{self.number}")

    def _runs(self, job: Job) -> list[bool]:
        """Return whether each of a job's runs is complete."""
        runs = load_runs(LocalStore(self.dest))
        return [run.is_complete for run in runs if run.request == {"tag": job.tag}]

    def _is_complete(self, job: Job) -> bool:
        return any(self._runs(job))


def total(rows: Rows) -> Counter[str]:
    return sum(rows.values(), Counter())


def check(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Lake,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,  # What fails for one person fails for all.
            database=None,
            suppress_health_check=[*HealthCheck],
        ),
    )


def test_any_sequence_of_jobs_and_deaths_keeps_the_promise() -> None:
    check(10, 8)


@pytest.mark.slow
def test_any_long_sequence_of_jobs_and_deaths_keeps_the_promise() -> None:
    check(50, 20)
