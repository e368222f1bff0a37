"""Copies the rows that a run carries over from the runs that it replaces.

Rules:
1. The rows of accounts that the run read completely are replaced. All other accounts' rows are
   carried over unchanged: skipped accounts, failed ones, and those that were not requested.
2. An account is replaced completely or not at all. Pages of an account that failed are dropped,
   even if it has no earlier rows: the part files that hold them are written again without them.
3. The commit logs say which accounts there are, and in which commits they moved: no other part file
   is opened. The statistics of row groups say where in a file they may be.
   A row group without any of them is not decoded; every other one is read in bounded batches.
4. The logs say how many rows an account has: any other number is an error, and nothing is replaced.
5. Rows may be many: the copying counts them as they come, and can be stopped between two batches,
   with nothing replaced.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from streamlic.dataset.batch_sizes import batches_of, opened
from streamlic.dataset.chosen import Chosen
from streamlic.dataset.commit_log import load_lake, records_of
from streamlic.dataset.lake import ACCOUNT_COLUMN
from streamlic.dataset.lake_state import COMMIT, COMPLETE
from streamlic.dataset.records import AccountDetails, Carried, PartFile, Rewritten
from streamlic.dataset.run_state import RunState
from streamlic.dataset.writer import DatasetWriter
from streamlic.errors import IntegrityError, StoreError
from streamlic.storage.base import NotFound, Store
from streamlic.tables.formats import check_seen

_DROP = "{absent_accounts=drop} leaves them out"
_ACCOUNT_ROWS = 8_192


class CopyStopped(Exception):
    """The copying of rows was stopped, and none of the copies counts."""


@dataclass
class Copying:
    """How many rows were copied, and the way to stop.

    One thread copies, another one watches.
    """

    rows: int = 0
    is_stopped: bool = False

    def stop(self) -> None:
        """End the copying before the next batch."""
        self.is_stopped = True

    def check(self) -> None:
        """Raise CopyStopped if it was stopped."""
        if self.is_stopped:
            raise CopyStopped


@dataclass(frozen=True)
class Carrying:
    """The accounts to carry over, each with its rows and the reason, and the runs that have them.

    ``dropped`` are accounts that no longer exist, with their rows. ``failed`` are the run's
    accounts that were not read completely. ``details`` are what only the replaced runs know of the
    accounts. A batch takes about ``batch_bytes``. ``rewritten`` are part files that may have the
    rows in place of the runs' own.
    """

    store: Store
    accounts: Mapping[str | None, Carried]
    dropped: Mapping[str | None, int]
    replaced: Sequence[RunState]
    failed: frozenset[str | None]
    details: Mapping[str | None, AccountDetails]
    batch_bytes: int
    rewritten: Sequence[PartFile] = ()
    copying: Copying = field(default_factory=Copying)

    def superseded(self, run: RunState) -> list[str]:
        """Return the run's part files that hold rows of accounts that failed."""
        partial = self.partial(run)
        return [
            file.name
            for file in _license_files_with(self.store, run, partial)
            if _has(self.store, run.staged(file.name), partial)
        ]

    def partial(self, run: RunState) -> set[str | None]:
        """Return the failed accounts of which the run has committed pages."""
        return {account for account in self.failed if run.point(account).rows}

    def write(self, run: RunState, superseded: Iterable[str], writer: DatasetWriter) -> None:
        """Write the rows of superseded part files that count, and the rows to carry over.

        Raises IntegrityError if the replaced runs lack rows that their logs promise, or if a file
        was altered: a copy would hide the damage. Raises DatasetConflict if another program has
        removed rows from a file, CopyStopped if ``copying`` was stopped.
        """
        partial = self.partial(run)
        staged = {file.name: file for file in run.license_files}
        for name in superseded:
            self.copying.check()
            _check_content(self.store, run.staged(name), staged[name])
            for batch in _rows(
                self.store, run.staged(name), partial, self.batch_bytes, is_without=True
            ):
                self.copying.check()
                writer.write_rows(batch)
        found: Counter[str | None] = Counter()
        files = [
            file
            for old in self.replaced
            for file in _license_files_with(self.store, old, self.accounts.keys())
        ]
        files += self.rewritten if self.accounts else ()
        if files:
            parts = [Rewritten(file, []) for file in files]
            check_seen(self.store, load_lake(self.store), parts, f"{_DROP}, ")
        for file in files:
            found += self._carry(file, writer)
        for account, expected in self.accounts.items():
            if found[account] != expected.rows:
                raise IntegrityError(
                    f"expected {expected.rows:,} rows of account {account} to carry over, "
                    f"got {found[account]:,}: verify the dataset",
                    advice=_DROP,
                )

    def _carry(self, file: PartFile, writer: DatasetWriter) -> Counter[str | None]:
        """Write the rows of a part file that are carried over; return how many each account has."""
        import pyarrow.compute as pc  # noqa: PLC0415  (slow to load, and few runs need it)

        found: Counter[str | None] = Counter()
        is_checked = False
        self.copying.check()
        for batch in _rows(self.store, file.name, self.accounts.keys(), self.batch_bytes):
            self.copying.check()
            if not is_checked:
                _check_content(self.store, file.name, file)
                is_checked = True
            writer.write_rows(batch)
            self.copying.rows += batch.num_rows
            for entry in pc.value_counts(batch[ACCOUNT_COLUMN]).to_pylist():
                found[entry["values"]] += entry["counts"]
        return found


def _license_files_with(
    store: Store, run: RunState, accounts: Collection[str | None]
) -> Iterator[PartFile]:
    """Yield the run's part files of licenses that may have rows of these accounts.

    Those are the files of commits in which one of them moved, or was carried over. A commit that
    supersedes files may have any of their rows.
    """
    wanted = {account or "" for account in accounts}
    by_name = {file.name: file for file in run.license_files}
    for record in records_of(store, run):
        if record["kind"] not in (COMMIT, COMPLETE):
            continue
        moved = record["points"].keys() | record["carried_over"].keys()
        if record["superseded"] or not wanted.isdisjoint(moved):
            names = (file["name"] for file in record["files"])
            yield from (by_name[name] for name in names if name in by_name)


def _check_content(store: Store, name: str, file: PartFile) -> None:
    with store.open(name) as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
            raise IntegrityError(
                f"{store.where(name)} was altered: the SHA-256 differs, so its rows cannot be "
                "carried over",
                advice=_DROP,
            )


def _rows(
    store: Store,
    name: str,
    accounts: Iterable[str | None],
    batch_bytes: int,
    *,
    is_without: bool = False,
) -> Iterator[pa.RecordBatch]:
    """Yield a part file's rows of these accounts, or with ``is_without`` all others.

    Some batches are empty, so that the caller is never away from its other work for long.
    """
    import pyarrow.compute as pc  # noqa: PLC0415  (slow to load, and few runs need it)

    chosen = Chosen(accounts)
    with _translated(store, name), opened(store, name) as file:
        for number in range(file.num_row_groups):
            if not is_without and not _are_in(file, number, chosen):
                continue
            for batch in batches_of(store, name, file, number, batch_bytes):
                mask = chosen.mask(batch[ACCOUNT_COLUMN])
                mask = pc.invert(mask) if is_without else mask
                yield batch if pc.all(mask).as_py() else batch.filter(mask)


def _has(store: Store, name: str, accounts: Iterable[str | None]) -> bool:
    """Return whether a part file has rows of these accounts."""
    chosen = Chosen(accounts)
    with _translated(store, name), opened(store, name) as file:
        return any(_are_in(file, number, chosen) for number in range(file.num_row_groups))


def _are_in(file: pq.ParquetFile, number: int, chosen: Chosen) -> bool:
    """Return whether a row group has rows of these accounts: by its statistics, then its column."""
    if not chosen.may_be_in(file.metadata.row_group(number).column(0)):
        return False
    import pyarrow.compute as pc  # noqa: PLC0415  (slow to load, and few runs need it)

    batches = file.iter_batches(
        _ACCOUNT_ROWS, row_groups=[number], columns=[ACCOUNT_COLUMN], use_threads=False
    )
    return any(pc.any(chosen.mask(batch[ACCOUNT_COLUMN])).as_py() for batch in batches)


@contextmanager
def _translated(store: Store, name: str) -> Iterator[None]:
    """Raise IntegrityError for a damaged or missing part file, StoreError for a failing disk."""
    try:
        yield
    except (OSError, KeyError, pa.ArrowException, NotFound) as error:
        if isinstance(error, OSError) and error.errno:  # Arrow's own errors have no number.
            raise StoreError(
                f"{store.where(name)}: {error.strerror} (does the disk fail?)"
            ) from error
        raise IntegrityError(
            f"{store.where(name)} cannot be read, and has rows to keep: {error}", advice=_DROP
        ) from error
