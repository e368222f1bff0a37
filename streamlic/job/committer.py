"""Commits whole pages: rows and resume point together, or neither.

Rules:
1. An account's resume point moves when the writer has its whole page, and only then.
2. A commit covers whole pages only, of any number of accounts. It follows a full part file,
   ``commit_seconds``, or the end of the run. Pages in progress wait for the next commit. A source
   of one page has one commit, at the end. Rows that are carried over from replaced runs are in the
   last commit; pages are committed before it.
3. One thread at a time calls it, except ``learn``, which any thread may call. After an error the
   writer is in doubt: only ``close`` may follow, without keeping pages.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa

from streamlic.dataset.records import (
    AccountDetails,
    Failed,
    PartFile,
    Promise,
    ResumePoint,
    written,
)
from streamlic.dataset.run_state import RunState
from streamlic.dataset.writer import DatasetWriter, PageWriter
from streamlic.decoder import Envelope
from streamlic.errors import StoreError
from streamlic.job.options import JobOptions
from streamlic.job.progress import Committed
from streamlic.tables.carry_over import Carrying, CopyStopped
from streamlic.tables.completion import Ending, RunWriter


class Committer:
    """Writes one run's pages, and commits what is due."""

    def __init__(
        self,
        lake: RunWriter,
        run: RunState,
        options: JobOptions,
        *,
        engine: str,
        large_pages: int = 1,
        commits_early: bool = True,
        on_commit: Callable[[Committed], None] = lambda _: None,
    ) -> None:
        self._lake = lake
        self._run = run
        self._on_commit = on_commit
        self._commit_seconds = options.commit_seconds
        self._commits_early = commits_early
        self._engine = engine
        self._moved: dict[str | None, ResumePoint] = {}
        self._details = dict(run.details)
        self._learned: dict[str | None, AccountDetails] = {}
        self._arrived: deque[tuple[str | None, AccountDetails]] = deque()
        self._committed_at = time.monotonic()
        self._writer = DatasetWriter(
            lake.store,
            run,
            schema=options.schema,
            details=self._details,
            options=replace(
                options.write_options,
                page_row_group_bytes=options.write_options.page_row_group_bytes // large_pages,
            ),
        )

    @property
    def bytes_written(self) -> int:
        """The bytes of all closed part files."""
        return self._writer.bytes_written

    def learn(self, account: str | None, details: AccountDetails) -> None:
        """Take what is known of an account, before its first page. Any thread may call it."""
        self._details[account] = details
        self._arrived.append((account, details))

    def take_small(
        self, batch: pa.RecordBatch | None, pages: Sequence[tuple[str | None, Envelope]]
    ) -> None:
        """Take whole small pages. One batch holds their rows, page after page."""
        if batch:
            self._writer.write_whole(batch, [(account, page.rows) for account, page in pages])
        for account, envelope in pages:
            self._move_point(account, envelope)
        self.commit_if_due()

    def open_page(self, account: str | None) -> PageWriter:
        """Open a writer for a large page of this account. ``end_page`` follows its ``end``."""
        return self._writer.open_page(account)

    def end_page(self, account: str | None, envelope: Envelope) -> None:
        """Take a large page, whose writer was ended, as whole."""
        self._move_point(account, envelope)
        self.commit_if_due()

    def take_promise(self, promise: Promise) -> None:
        """Commit what another process has read and staged. Raises StoreError if it is not there."""
        with self._lake.fenced():
            self._check_staged(promise.files)
        self._lake.commit(self._run, promise)
        self._on_commit(Committed(self._run.rows, len(self._run.license_files)))

    def complete(self, keeps: Carrying | None, failed: Mapping[str | None, Failed]) -> None:
        """Commit every whole page, and that the run is complete, unless it is already.

        ``keeps`` is what the run carries over from the runs that it replaces. ``failed`` are the
        accounts that it is completed without. If the copying is stopped the run is not complete,
        and its pages are committed.
        """
        if self._run.is_complete:
            return
        if keeps:
            self._commit()  # Copying may take long.
        try:
            ending = Ending(
                engine=self._engine,
                points=self._moved,
                keeps=keeps,
                failed=failed,
                details=self._learned_by_now(),
            )
            self._lake.complete(self._run, self._writer, ending)
        except CopyStopped:
            self._writer.discard()
        else:
            self._committed()

    def close(self, *, keeps_pages: bool) -> None:
        """Discard pages in progress; commit whole pages before if ``keeps_pages``."""
        try:
            if keeps_pages and self._commits_early:
                self._commit()
        finally:
            self._writer.discard()

    def _check_staged(self, files: Sequence[PartFile]) -> None:
        store = self._lake.store
        for staged in (self._run.staged(file.name) for file in files):
            if not store.exists(staged):
                raise StoreError(
                    f"{store.where(staged)} is not there, which another machine has written: the "
                    "machines do not share this directory",
                    advice="choose a directory that all of them share, or an object store, as "
                    "{dest}",
                )

    def _move_point(self, account: str | None, envelope: Envelope) -> None:
        before = self._moved.get(account) or self._run.point(account)
        now = written(datetime.now(UTC))
        is_partial = envelope.is_partial_response or envelope.next_link is not None
        self._moved[account] = ResumePoint(
            cursor=envelope.next_cursor or None,
            is_done=not envelope.next_cursor,
            rows=before.rows + envelope.rows,
            rescued=before.rescued + envelope.rescued,
            pages=before.pages + 1,
            is_partial=before.is_partial or is_partial,
            page_rows=envelope.rows,
            page_ids_crc32=envelope.ids_crc32,
            started_at=before.started_at or now,
            ended_at=now,
        )

    def commit_if_due(self) -> None:
        """Commit whole pages if they fill a part file or ``commit_seconds`` have passed."""
        if not self._commits_early:
            return
        waited = time.monotonic() - self._committed_at
        if self._writer.is_full or waited >= self._commit_seconds:
            self._commit()

    def _commit(self) -> None:
        files = self._writer.finish()
        if files or self._moved:
            promise = Promise(files=files, points=self._moved, details=self._learned_by_now())
            self._lake.commit(self._run, promise)
            self._committed()
        self._committed_at = time.monotonic()

    def _learned_by_now(self) -> dict[str | None, AccountDetails]:
        """Return what was learned since the last commit; more may arrive during this one."""
        while self._arrived:
            account, details = self._arrived.popleft()
            self._learned[account] = details
        return self._learned

    def _committed(self) -> None:
        self._moved, self._learned = {}, {}
        self._on_commit(Committed(self._run.rows, len(self._run.license_files)))
