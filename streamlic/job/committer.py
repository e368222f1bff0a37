"""Whole pages to commits: rows and resume point together, or neither.

Rules:
1. An account's resume point moves on when the writer has its whole page; then, and only then.
2. A commit covers whole pages only, of however many accounts. It follows when they fill a part
   file, or ``commit_seconds``, or the end. Pages in progress wait for the next. Where it is known
   that there is one page, the only commit is that of the end.
   What is carried over from replaced runs is in the last commit: pages are committed before.
3. One thread at a time calls; what failed leaves the writer in doubt, and nothing is to follow but
   ``close`` without keeping the pages.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from streamlic.dataset.carry_over import Carrying, CopyStopped, complete_keeping
from streamlic.dataset.commit_log import Failed, ResumePoint, Run
from streamlic.dataset.writer import DatasetWriter, PageWriter
from streamlic.decoder import Envelope
from streamlic.job.options import JobOptions


class Committer:
    """Takes one run's pages, writes them, and commits what is due."""

    def __init__(
        self, run: Run, options: JobOptions, *, large_pages: int = 1, commits_early: bool = True
    ) -> None:
        self._run = run
        self._commit_seconds = options.commit_seconds
        self._commits_early = commits_early
        self._moved: dict[str | None, ResumePoint] = {}
        self._committed_at = time.monotonic()
        self._writer = DatasetWriter(
            run.store,
            run.staging,
            run.part_prefix,
            schema=options.schema,
            exported_at=run.started_at,
            first_number=run.next_part_number(),
            options=replace(
                options.write_options,
                page_row_group_bytes=options.write_options.page_row_group_bytes // large_pages,
            ),
        )

    @property
    def bytes_written(self) -> int:
        """The bytes of all part files that were closed."""
        return self._writer.bytes_written

    def take_whole(
        self, batch: pa.RecordBatch | None, pages: Sequence[tuple[str | None, Envelope]]
    ) -> None:
        """Take small pages that are whole, their rows one page's after the other's in one batch."""
        if batch:
            self._writer.write_whole(batch, [(account, page.rows) for account, page in pages])
        for account, envelope in pages:
            self._move_on(account, envelope)
        self.commit_if_due()

    def begin_page(self, account: str | None) -> CommittedPage:
        """Begin a large page of this account's rows."""
        return CommittedPage(self, account, self._writer.open_page(account))

    def end_page(self, account: str | None, envelope: Envelope) -> None:
        """Take a large page, which the writer has, for whole."""
        self._move_on(account, envelope)
        self.commit_if_due()

    def complete(self, keeps: Carrying | None, failed: Mapping[str | None, Failed]) -> None:
        """Promise what is whole, and that the run is complete, if that was not promised before.

        ``keeps`` is what the run takes over from those that it replaces, and ``failed`` are the
        accounts that it is completed without. Where taking over is stopped the run is not complete,
        and its pages are committed.
        """
        if self._run.is_complete:
            return
        if keeps is None:
            self._commit(is_complete=True, failed=failed)
            return
        self._commit()
        try:
            complete_keeping(self._run, self._writer, keeps, failed)
        except CopyStopped:
            self._writer.discard()

    def close(self, *, keeps_pages: bool) -> None:
        """End; ``keeps_pages`` commits the pages that are whole."""
        try:
            if keeps_pages:
                self._commit()
        finally:
            self._writer.discard()

    def _move_on(self, account: str | None, envelope: Envelope) -> None:
        before = self._moved.get(account) or self._run.point(account)
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
        )

    def commit_if_due(self) -> None:
        """Commit what is whole, if it fills a part file or has waited long enough."""
        if not self._commits_early:
            return
        waited = time.monotonic() - self._committed_at
        if self._writer.is_full or waited >= self._commit_seconds:
            self._commit()

    def _commit(
        self, *, is_complete: bool = False, failed: Mapping[str | None, Failed] | None = None
    ) -> None:
        files = self._writer.finish(with_empty=is_complete and not self._run.files)
        if files or self._moved or is_complete:
            self._run.commit(files, self._moved, is_complete=is_complete, failed=failed)
            self._moved = {}
        self._committed_at = time.monotonic()


class CommittedPage:
    """A large page on its way to a commit: batches, then the end, or none."""

    def __init__(self, committer: Committer, account: str | None, page: PageWriter) -> None:
        self._committer = committer
        self._account = account
        self._page = page

    def write(self, batch: pa.RecordBatch) -> None:
        """Take a batch."""
        self._page.write(batch)

    def end(self, envelope: Envelope) -> None:
        """Give the page, which is whole, to the next commit; commit if one is due."""
        self._page.end()
        self._committer.end_page(self._account, envelope)

    def abandon(self) -> None:
        """Forget the page; it will be fetched again."""
        self._page.abandon()
