"""The end of a run: one commit of all that is left, and the run's rows of the other two tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from streamlic.dataset.records import AccountDetails, Failed, Points, Promise, ResumePoint
from streamlic.dataset.run_state import RunState
from streamlic.dataset.run_tables import write_run_tables
from streamlic.dataset.writer import DatasetWriter
from streamlic.tables.base import LakeWriter
from streamlic.tables.carry_over import Carrying
from streamlic.tables.kept_accounts import completed


def complete_run(
    lake: LakeWriter,
    run: RunState,
    writer: DatasetWriter,
    *,
    engine: str,
    points: Points | None = None,
    keeps: Carrying | None = None,
    failed: Mapping[str | None, Failed] | None = None,
    details: Mapping[str | None, AccountDetails] | None = None,
) -> None:
    """Commit what ``writer`` has, that the run is complete, and its rows of all tables.

    With ``keeps`` every page must be committed before: ``writer`` takes the rows that are carried
    over. Raises CopyStopped if that was stopped; the run is then not complete.
    """
    points, superseded = points or {}, list[str]()
    if keeps:
        with lake.fenced():
            superseded = keeps.superseded(run)
            keeps.write(run, superseded, writer)
        points = {account: ResumePoint() for account in keeps.partial(run)}
    learned, kept = details or {}, keeps.details if keeps else {}
    known = {**{one: run.details_of(one) for one in kept}, **learned}
    files = writer.finish(with_empty=len(superseded) == len(run.license_files))
    promise = Promise(
        files=files,
        points=points,
        is_complete=True,
        superseded=superseded,
        carried_over=keeps.accounts if keeps else {},
        dropped=keeps.dropped if keeps else {},
        details={**known, **{one: completed(known[one], kept[one]) for one in kept}},
        failed=failed or {},
    )
    rows = write_run_tables(
        lake.store, run.after(promise), engine=engine, compression=writer.options.compression
    )
    lake.commit(run, replace(promise, files=[*files, *rows]))
