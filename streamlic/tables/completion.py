"""The end of a run: one commit of all that is left, and the run's rows of the other two tables."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from streamlic.dataset.records import AccountDetails, Failed, Points, Promise, ResumePoint
from streamlic.dataset.run_state import RunState
from streamlic.dataset.run_tables import write_run_tables
from streamlic.dataset.writer import DatasetWriter
from streamlic.storage.base import Store
from streamlic.tables.carry_over import Carrying
from streamlic.tables.kept_accounts import completed

if TYPE_CHECKING:
    from streamlic.tables.base import LakeWriter


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What the end of a run commits besides its last rows."""

    engine: str
    points: Points = field(default_factory=dict)
    keeps: Carrying | None = None
    """What the run carries over; None for nothing."""
    failed: Mapping[str | None, Failed] = field(default_factory=dict)
    details: Mapping[str | None, AccountDetails] = field(default_factory=dict)
    """What was learned of accounts since the last commit."""


class RunWriter(Protocol):
    """Where a job commits what it reads of a run: the whole lake, or one shard."""

    @property
    def store(self) -> Store:
        """Where the part files are."""

    def commit(self, run: RunState, promise: Promise) -> None:
        """Promise staged files and resume points. ``run`` is brought up to date."""

    def complete(self, run: RunState, writer: DatasetWriter, ending: Ending) -> None:
        """Commit what ``writer`` has, and that every account was read, or may be missing."""

    def fenced(self) -> AbstractContextManager[None]:
        """Raise Fenced in place of an error if another process has become the writer."""


def complete_run(lake: LakeWriter, run: RunState, writer: DatasetWriter, ending: Ending) -> None:
    """Commit what ``writer`` has, that the run is complete, and its rows of all tables.

    With ``keeps`` every page must be committed before: ``writer`` takes the rows that are carried
    over. Raises CopyStopped if that was stopped; the run is then not complete.
    """
    keeps, points, superseded = ending.keeps, ending.points, list[str]()
    if keeps:
        with lake.fenced():
            superseded = keeps.superseded(run)
            keeps.write(run, superseded, writer)
        points = {account: ResumePoint() for account in keeps.partial(run)}
    kept = keeps.details if keeps else {}
    known = {**{one: run.details_of(one) for one in kept}, **ending.details}
    files = writer.finish(with_empty=len(superseded) == len(run.license_files))
    promise = Promise(
        files=files,
        points=points,
        is_complete=True,
        superseded=superseded,
        carried_over=keeps.accounts if keeps else {},
        dropped=keeps.dropped if keeps else {},
        details={**known, **{one: completed(known[one], kept[one]) for one in kept}},
        failed=ending.failed,
    )
    after, compression = run.after(promise), writer.options.compression
    rows = write_run_tables(lake.store, after, engine=ending.engine, compression=compression)
    lake.commit(run, replace(promise, files=[*files, *rows]))
