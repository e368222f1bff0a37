"""What the records of a lake's log add up to: a fold, without any I/O.

The kinds of records:

``claim``     a process becomes the writer: only its records may follow, up to the next claim
``begin``     a run starts: its request
``commit``    part files of the run are promised, and where its accounts continue
``complete``  the last commit of a run
``remove``    runs no longer count, and their part files go
``rewrite``   rows of part files of several runs lie in other part files now
``expire``    the same, and without the licenses of the oldest runs
``finish``    no work of the record before it is left

Rules:
1. The records are numbered from 1 without a gap. Each has the SHA-256 of the one before it, so
   that a missing or altered record is noticed.
2. The number of a claim is the epoch of its writer. Each record has its writer's epoch: one that
   was written under an earlier claim breaks the log. A shard of a run has claims of its own, and
   so a writer of its own, whose records say ``shard``: they may come between those of any other.
3. What a record shows to readers, or hides, comes after the record. Until then it is pending:
   after a crash the next writer shows it again.
4. Rows are rewritten whole: for each run and table as many as there were, but for the licenses of
   runs that expire.
5. A record that breaks a rule raises KeyError, TypeError or ValueError, and the state is spent.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from streamlic.dataset.lake import LICENSES, rewritten_place, run_of, table_of
from streamlic.dataset.records import VERSION, Format, PartFile, Rewritten
from streamlic.dataset.run_state import RunState
from streamlic.errors import DatasetConflict

CLAIM = "claim"
BEGIN = "begin"
COMMIT = "commit"
COMPLETE = "complete"
REMOVE = "remove"
REWRITE = "rewrite"
EXPIRE = "expire"
FINISH = "finish"

_SHOWN = (COMMIT, COMPLETE, REMOVE, REWRITE, EXPIRE)
"""The kinds of records that change what readers see."""


@dataclass(kw_only=True)
class LakeState:
    """A lake: its runs, oldest first, and the end of its log."""

    id: str = ""
    """The lake's identity, which its first record gave it."""
    number: int = 0
    """That of the last record."""
    last_sha256: str = ""
    epoch: int = 0
    """The number of the last claim."""
    writer: str = ""
    """How the last claim describes its process."""
    runs: dict[str, RunState] = field(default_factory=dict)
    pending: dict[str, Any] | None = None
    """The record that may have to be shown again."""
    rewritten: dict[str, Rewritten] = field(default_factory=dict)
    """The part files that have rows of several runs, by name."""
    last_rewritten: tuple[int, int] = (0, 0)
    """Epoch and number of the last of them."""

    @property
    def format(self) -> Format | None:
        """How readers see the tables; None before the first run."""
        return next((run.format for run in self.runs.values()), None)

    @property
    def newest_first(self) -> list[RunState]:
        """The runs, the newest first."""
        return self.oldest_first[::-1]

    @property
    def oldest_first(self) -> list[RunState]:
        """The runs, in the order in which the log has them: the clock of a machine may be wrong."""
        return [*self.runs.values()]

    @property
    def is_in_place(self) -> bool:
        """Whether part files have their names from the start: the format's own log hides them."""
        return self.format is not None and self.format.is_in_place

    @property
    def live_files(self) -> list[PartFile]:
        """The part files that count now, also those that readers do not see yet."""
        own = [file for run in self.runs.values() for file in run.live_files]
        return [*own, *(one.file for one in self.live_rewritten)]

    @property
    def live_rewritten(self) -> list[Rewritten]:
        """The rewritten part files that count now."""
        return [one for one in self.rewritten.values() if not self._is_replaced(one)]

    def rewritten_licenses_of(self, run_ids: Collection[str]) -> list[Rewritten]:
        """Return the rewritten part files that have licenses of any of these runs."""
        return [
            one
            for one in self.rewritten.values()
            if table_of(one.file.name) == LICENSES and not one.runs.isdisjoint(run_ids)
        ]

    def names_of_licenses(self, run_ids: Collection[str]) -> list[str]:
        """Return the names of the part files that have licenses of any of these runs."""
        runs = (self.runs.get(run_id) for run_id in run_ids)
        names = [file.name for run in runs if run for file in run.license_files]
        return names + [one.file.name for one in self.rewritten_licenses_of(run_ids)]

    def shown_by(self, record: Mapping[str, Any]) -> list[PartFile]:
        """Return the part files that the last record shows to readers."""
        if record["kind"] == REMOVE:
            return []
        if record["kind"] in (REWRITE, EXPIRE):
            return [Rewritten.of(file).file for file in record["files"]]
        run = self.runs[record["run"]]
        if run.is_complete and run.publish == "complete":
            return run.files
        return [PartFile(**file) for file in record["files"]]

    def tables_seen(self) -> set[str]:
        """Return the tables that have shown part files, without those of the pending record."""
        later = {file.name for file in (self.shown_by(self.pending) if self.pending else [])}
        shown = [run for run in self.runs.values() if run.is_published]
        names = [*self.rewritten, *(file.name for run in shown for file in run.files)]
        seen = {table_of(name) for name in names if name not in later}
        return seen.union(*(run.elsewhere for run in shown))

    def was_hidden(self, name: str) -> bool:
        """Return whether readers may have seen a file of a table, and do not see it any longer.

        Where a format's own log says what readers see, such files stay as long as its earlier
        versions need them. So do files that another program wrote for the table.
        """
        if not self.is_in_place:
            return False
        if place := rewritten_place(name):
            return place <= self.last_rewritten
        run = self.runs.get(run_of(name) or "")
        return run is None or run.is_finished

    def next_record(self, kind: str, nonce: str, epoch: int | None = None) -> dict[str, Any]:
        """Return what every record has, of the one that would be next.

        ``epoch`` is that of its writer, by default the lake's.
        """
        return {
            "version": VERSION,
            "number": self.number + 1,
            "kind": kind,
            "epoch": self.number + 1 if kind == CLAIM else (epoch or self.epoch),
            "nonce": nonce,
            "previous_sha256": self.last_sha256,
        }

    def fold(self, record: Mapping[str, Any], data: bytes) -> None:
        """Take the next record, with this body and these bytes. A run that ends is shed."""
        check_version(record)
        if record["number"] != self.number + 1:
            raise ValueError(f"expected record {self.number + 1}, got {record['number']}")
        if record["previous_sha256"] != self.last_sha256:
            raise ValueError("the record before it was altered")
        shard = record.get("shard")
        epoch = self.runs[record["run"]].shards.epoch(shard) if shard else self.epoch
        if record["kind"] != CLAIM and record["epoch"] != epoch:
            raise ValueError("it was written by a process that was not the writer any longer")
        if record["kind"] == BEGIN:
            run = RunState.of(record)
            self.runs[run.id] = run
        elif record["kind"] in (COMMIT, COMPLETE):
            self.runs[record["run"]].fold(record)
        self.advance(record, data)
        if record["kind"] == FINISH:
            for run_id in record["runs"]:
                self.runs[run_id] = self.runs[run_id].shed()

    def advance(self, record: Mapping[str, Any], data: bytes) -> None:
        """Take a record whose run has taken it already."""
        kind, shard = record["kind"], record.get("shard")
        if kind == CLAIM and shard:
            self.runs[record["run"]].claim_shard(shard, record["number"])
        elif kind == CLAIM:
            self.id = self.id or record["nonce"]
            self.epoch, self.writer = record["number"], record["writer"]
        elif kind == COMPLETE:
            for replaced in self.runs[record["run"]].replaces:
                if replaced in self.runs:
                    self.runs[replaced].is_replaced = True
        elif kind == REMOVE:
            for removed in record["runs"]:
                del self.runs[removed]
        elif kind == FINISH:
            for run_id in record["runs"]:
                self.runs[run_id].is_finished = True
            self.rewritten = {one.file.name: one for one in self.live_rewritten}
        elif kind in (REWRITE, EXPIRE):
            self._rewrite(record)
        elif kind not in (BEGIN, COMMIT):
            raise ValueError(f"it is of an unknown kind, {kind!r}")
        if kind != CLAIM and not shard:
            is_shown_later = kind == COMMIT and not self.runs[record["run"]].is_published
            is_pending = kind in _SHOWN and not is_shown_later
            self.pending = dict(record) if is_pending else None
        self.number = record["number"]
        self.last_sha256 = hashlib.sha256(data).hexdigest()

    def _rewrite(self, record: Mapping[str, Any]) -> None:
        """Take files in place of others; the licenses of runs that expire go."""
        rows = self._superseded({*record["superseded"]})
        for run_id in record["runs"]:
            self.runs[run_id].expire()
            del rows[LICENSES, run_id]
        for one in map(Rewritten.of, record["files"]):
            place = rewritten_place(one.file.name)
            if place is None or place <= self.last_rewritten:
                raise ValueError(f"{one.file.name!r} is not the name of the next rewritten file")
            self.last_rewritten = place
            self.rewritten[one.file.name] = one
            of_runs = one.rows_of
            rows.subtract({(table_of(one.file.name), run): n for run, n in of_runs.items()})
            if of_runs.total() != one.file.rows:
                raise ValueError(f"{one.file.name}: its rows are not those of its runs")
        if wrong := [run_id for (_, run_id), count in rows.items() if count]:
            raise ValueError(f"it does not have the same rows of run {wrong[0]}")

    def _superseded(self, names: Collection[str]) -> Counter[tuple[str, str]]:
        """Forget part files; return how many rows they had, by table and run."""
        rows = Counter[tuple[str, str]]()
        by_run: dict[str, set[str]] = {}
        for name in names:
            if old := self.rewritten.pop(name, None):
                rows.update({(table_of(name), run_id): n for run_id, n in old.rows_of.items()})
            else:
                by_run.setdefault(run_of(name) or "", set()).add(name)
        for run_id, own in by_run.items():
            run = self.runs[run_id]
            if not run.is_finished:
                raise ValueError(f"it has rows of run {run.id}, which has not ended")
            if unknown := own - {file.name for file in run.files}:
                raise ValueError(f"it supersedes {min(unknown)!r}, which no record promised")
            for file in run.files:
                if file.name in own:
                    rows[table_of(file.name), run_id] += file.rows
            run.give_up(own)
        return rows

    def _is_replaced(self, one: Rewritten) -> bool:
        """Return whether a rewritten file has licenses, and only of runs that were replaced."""
        return table_of(one.file.name) == LICENSES and not any(
            self.runs[run_id].has_licenses for run_id in one.runs
        )

    def as_json(self) -> dict[str, Any]:
        """Return the state as JSON values, for ``from_json``; runs that have ended are shed."""
        return {
            "version": VERSION,
            "lake": self.id,
            "number": self.number,
            "last_sha256": self.last_sha256,
            "epoch": self.epoch,
            "writer": self.writer,
            "pending": self.pending,
            "rewritten": [one.as_json() for one in self.rewritten.values()],
            "last_rewritten": self.last_rewritten,
            "runs": [
                (run.shed() if run.is_finished else run).as_json() for run in self.runs.values()
            ],
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """Return the state that ``as_json`` wrote."""
        check_version(state)
        runs = [RunState.from_json(run) for run in state["runs"]]
        return cls(
            id=state["lake"],
            number=state["number"],
            last_sha256=state["last_sha256"],
            epoch=state["epoch"],
            writer=state["writer"],
            pending=state["pending"],
            rewritten={one["name"]: Rewritten.of(one) for one in state["rewritten"]},
            last_rewritten=tuple(state["last_rewritten"]),
            runs={run.id: run for run in runs},
        )


def check_version(record: Mapping[str, Any]) -> None:
    """Raise DatasetConflict for a record of another version of the log."""
    if record["version"] != VERSION:
        raise DatasetConflict(
            "the lake was written by another version of streamlic, whose log has another layout",
            advice="choose a new {dest} and export again",
        )
