"""What the records of a lake's log add up to: a fold, without any I/O.

The kinds of records:

``claim``     a process becomes the writer: only its records may follow, up to the next claim
``begin``     a run starts: its request
``commit``    part files of the run are promised, and where its accounts continue
``complete``  the last commit of a run
``remove``    runs no longer count, and their part files go
``finish``    no work of the record before it is left

Rules:
1. The records are numbered from 1 without a gap. Each has the SHA-256 of the one before it, so
   that a missing or altered record is noticed.
2. The number of a claim is the epoch of its writer. Each record has its writer's epoch: one that
   was written under an earlier claim breaks the log.
3. What a record shows to readers, or hides, comes after the record. Until then it is pending:
   after a crash the next writer shows it again.
4. A record that breaks a rule raises KeyError, TypeError or ValueError, and the state is spent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from streamlic.dataset.records import VERSION, Format
from streamlic.dataset.run_state import RunState
from streamlic.errors import DatasetConflict

CLAIM = "claim"
BEGIN = "begin"
COMMIT = "commit"
COMPLETE = "complete"
REMOVE = "remove"
FINISH = "finish"


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

    @property
    def format(self) -> Format | None:
        """How readers see the tables; None before the first run."""
        return next((run.format for run in self.runs.values()), None)

    @property
    def newest_first(self) -> list[RunState]:
        """The runs, the newest first."""
        return sorted(self.runs.values(), key=lambda run: run.started_at, reverse=True)

    @property
    def oldest_first(self) -> list[RunState]:
        """The runs, the oldest first."""
        return sorted(self.runs.values(), key=lambda run: run.started_at)

    def next_record(self, kind: str, nonce: str) -> dict[str, Any]:
        """Return what every record has, of the one that would be next."""
        return {
            "version": VERSION,
            "number": self.number + 1,
            "kind": kind,
            "epoch": self.number + 1 if kind == CLAIM else self.epoch,
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
        if record["kind"] != CLAIM and record["epoch"] != self.epoch:
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
        kind = record["kind"]
        if kind == CLAIM:
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
        elif kind not in (BEGIN, COMMIT):
            raise ValueError(f"it is of an unknown kind, {kind!r}")
        if kind != CLAIM:
            is_shown_later = kind == COMMIT and not self.runs[record["run"]].is_published
            is_pending = kind in (COMMIT, COMPLETE, REMOVE) and not is_shown_later
            self.pending = dict(record) if is_pending else None
        self.number = record["number"]
        self.last_sha256 = hashlib.sha256(data).hexdigest()

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
            runs={run.id: run for run in runs},
        )


def check_version(record: Mapping[str, Any]) -> None:
    """Raise DatasetConflict for a record of another version of the log."""
    if record["version"] != VERSION:
        raise DatasetConflict(
            "the lake was written by another version of streamlic, whose log has another layout",
            advice="choose a new {dest} and export again",
        )
