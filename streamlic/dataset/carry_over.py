"""What a run that overwrites keeps of the runs that it replaces.

Rules:
1. The rows of accounts that the run read to the end are replaced. All other accounts' rows are
   carried over as they are: skipped accounts, failed ones, and those that nobody asked for.
2. An account is replaced as a whole or not at all. The pages that the run has of an account that
   failed go, also where it has no earlier rows: the part files that hold them are written again
   without them.
3. The commit logs tell which accounts there are, the statistics of row groups where they may be.
   A row group without any of them is not decoded; any other one is read in bounded batches.
4. The logs tell how many rows an account has: fewer or more are an error, and nothing is replaced.
5. Rows may be many: they are counted as they come, and to be stopped ends that between two batches,
   with nothing replaced.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from streamlic.dataset.batch_sizes import batches_of, opened
from streamlic.dataset.commit_log import Carried, Failed, ResumePoint, Run, load_run
from streamlic.dataset.writer import ACCOUNT_COLUMN, DatasetWriter, PartFile
from streamlic.errors import DatasetConflict, IntegrityError

ABSENT_ACCOUNTS = ("keep", "drop")
NOT_ASKED_FOR = "not asked for"
_DROP = "--absent-accounts drop leaves them out"
_ACCOUNT_ROWS = 8_192


class CopyStopped(Exception):
    """The copying of rows was stopped, and none of them counts."""


@dataclass
class Copying:
    """How far the copying has come, for who watches it, and the way to stop it.

    One thread copies, another one looks on.
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

    ``failed`` are the run's accounts that were not read to the end. A batch takes about
    ``batch_bytes``.
    """

    accounts: Mapping[str | None, Carried]
    replaced: Sequence[Run]
    failed: frozenset[str | None]
    batch_bytes: int
    copying: Copying = field(default_factory=Copying)

    def superseded(self, run: Run) -> list[str]:
        """Return the run's part files that hold rows of accounts that failed."""
        partial = self.partial(run)
        return [
            file.name for file in run.files if partial and _has(_staged(run, file.name), partial)
        ]

    def partial(self, run: Run) -> set[str | None]:
        """Return the accounts that failed of which the run has committed pages."""
        return {account for account in self.failed if run.point(account).rows}

    def write(self, run: Run, superseded: Iterable[str], writer: DatasetWriter) -> None:
        """Write what counts of superseded part files, and the rows that are carried over.

        Raises IntegrityError where the replaced runs have not the rows that their logs promise, or
        a file is not as it was committed: a copy would make its damage look sound. Raises
        CopyStopped if ``copying`` was stopped.
        """
        partial = self.partial(run)
        staged = {file.name: file for file in run.files}
        for name in superseded:
            path = _staged(run, name)
            self.copying.check()
            _check_content(run, f"{run.staging}/{name}", staged[name])
            for batch in _rows(path, partial, self.batch_bytes, is_without=True):
                self.copying.check()
                writer.write_rows(batch)
        found: Counter[str | None] = Counter()
        for old in self.replaced:
            for file in old.files:
                found += self._carry(old, file, writer)
        for account, expected in self.accounts.items():
            if found[account] != expected.rows:
                raise IntegrityError(
                    f"expected {expected.rows:,} rows of account {account} to carry over, "
                    f"got {found[account]:,}: check DEST with streamlic verify ({_DROP})"
                )

    def _carry(self, old: Run, file: PartFile, writer: DatasetWriter) -> Counter[str | None]:
        """Write a part file's rows that are carried over; return how many each account has."""
        found: Counter[str | None] = Counter()
        is_checked = False
        self.copying.check()
        for batch in _rows(old.store.path(file.name), self.accounts.keys(), self.batch_bytes):
            self.copying.check()
            if not is_checked:
                _check_content(old, file.name, file)
                is_checked = True
            writer.write_rows(batch)
            self.copying.rows += batch.num_rows
            for entry in pc.value_counts(batch[ACCOUNT_COLUMN]).to_pylist():
                found[entry["values"]] += entry["counts"]
        return found


def complete_keeping(
    run: Run,
    writer: DatasetWriter,
    keeps: Carrying,
    failed: Mapping[str | None, Failed] | None = None,
) -> None:
    """Commit that a run is complete, with all that it keeps; its pages are committed already."""
    superseded = keeps.superseded(run)
    points = {account: ResumePoint() for account in keeps.partial(run)}
    keeps.write(run, superseded, writer)
    run.commit(
        writer.finish(with_empty=len(superseded) == len(run.files)),
        points,
        is_complete=True,
        superseded=superseded,
        carried_over=keeps.accounts,
        failed=failed,
    )


def carrying(
    run: Run, failed: Mapping[str, str], *, batch_bytes: int, keeps_absent: bool = True
) -> Carrying | None:
    """Return what a run that is read has to keep, None if it is complete as it is.

    ``failed`` are the accounts that were not read to the end, with the reasons. Where a run does
    not ``keeps_absent`` it only loses the pages that it has of them. Raises DatasetConflict where
    rows of another schema would have to be kept.
    """
    if run.mode != "overwrite":
        return None
    replaced = replaced_by(run) if keeps_absent else []
    read = [account for account in run.accounts if (account or "") not in failed]
    kept = _not_read(replaced, read)
    if not (kept or failed):
        return None
    check_schemas(run.request, read, replaced)
    accounts = {
        account: Carried(rows=rows, reason=_reason(run, failed, account))
        for account, rows in kept.items()
    }
    return Carrying(
        accounts,
        [old for old in replaced if kept.keys() & old.account_rows.keys()],
        frozenset(run.accounts) - frozenset(read),
        batch_bytes,
    )


def replaced_by(run: Run) -> list[Run]:
    """Return the runs that this one replaces when it is complete."""
    runs = (load_run(run.store, run_id) for run_id in run.replaces)
    return [old for old in runs if old]


def check_schemas(
    request: Mapping[str, Any], accounts: Iterable[str | None], replaced: Sequence[Run]
) -> None:
    """Raise DatasetConflict if rows that a run has to keep are of another schema than its own."""
    others = [old for old in replaced if _is_raw(old.request) is not _is_raw(request)]
    kept = _not_read(others, accounts)
    if kept:
        was, now = ("raw", "licenses") if _is_raw(others[0].request) else ("licenses", "raw")
        some = min(kept, key=str)
        raise DatasetConflict(
            f"{others[0].store.root} holds {was} rows of {len(kept):,} account(s) that are not "
            f"read, such as {some}, and they cannot be kept beside {now} rows: leave them out with "
            "--absent-accounts drop, or choose another DEST"
        )


def _not_read(replaced: Iterable[Run], read: Iterable[str | None]) -> dict[str | None, int]:
    """Return the rows of each account that replaced runs have and that was not read."""
    rows: Counter[str | None] = Counter()
    for old in replaced:
        rows.update(old.account_rows)
    for account in read:
        rows.pop(account, None)
    return dict(rows)


def _reason(run: Run, failed: Mapping[str, str], account: str | None) -> str:
    if account is not None and account in run.skipped:
        return run.skipped[account]
    if (account or "") in failed:
        return f"failed: {failed[account or '']}"
    return NOT_ASKED_FOR


def _is_raw(request: Mapping[str, Any]) -> bool:
    return bool(request.get("raw"))


def _check_content(run: Run, name: str, file: PartFile) -> None:
    if run.store.sha256(name) != file.sha256:
        raise IntegrityError(
            f"{run.store.path(name)} was altered: the SHA-256 differs, so that its rows cannot be "
            f"carried over ({_DROP})"
        )


def _staged(run: Run, name: str) -> Path:
    return run.store.path(f"{run.staging}/{name}")


def _rows(
    path: Path, accounts: Iterable[str | None], batch_bytes: int, *, is_without: bool = False
) -> Iterator[pa.RecordBatch]:
    """Yield a part file's rows of these accounts, or with ``is_without`` all others.

    A batch may be empty, so that it is never long until the next one.
    """
    chosen = _Chosen(accounts)
    with _translated(path), opened(path) as file:
        for number in range(file.num_row_groups):
            if not is_without and not _are_in(file, number, chosen):
                continue
            for batch in batches_of(path, file, number, batch_bytes):
                mask = chosen.mask(batch[ACCOUNT_COLUMN])
                mask = pc.invert(mask) if is_without else mask
                yield batch if pc.all(mask).as_py() else batch.filter(mask)


def _has(path: Path, accounts: Iterable[str | None]) -> bool:
    """Return whether a part file has rows of these accounts."""
    chosen = _Chosen(accounts)
    with _translated(path), opened(path) as file:
        return any(_are_in(file, number, chosen) for number in range(file.num_row_groups))


def _are_in(file: pq.ParquetFile, number: int, chosen: _Chosen) -> bool:
    """Look whether a row group has rows of these accounts: in its statistics, then its column."""
    if not chosen.may_be_in(file.metadata.row_group(number)):
        return False
    batches = file.iter_batches(
        _ACCOUNT_ROWS, row_groups=[number], columns=[ACCOUNT_COLUMN], use_threads=False
    )
    return any(pc.any(chosen.mask(batch[ACCOUNT_COLUMN])).as_py() for batch in batches)


class _Chosen:
    """Accounts that are looked for in a column."""

    def __init__(self, accounts: Iterable[str | None]) -> None:
        self._values = pa.array(list(accounts), pa.string())
        self._has_null = self._values.null_count > 0
        self._sorted = sorted(self._values.drop_null().to_pylist())

    def may_be_in(self, group: pq.RowGroupMetaData) -> bool:
        """Whether a row group may hold any of them, as its statistics tell."""
        statistics = group.column(0).statistics
        if statistics is None or not statistics.has_null_count:
            return True
        if self._has_null and statistics.null_count:
            return True
        if not statistics.has_min_max:  # All are null, or too long.
            return bool(statistics.null_count < group.num_rows)
        # Texts compare by code points, and UTF-8 in the same order.
        first = bisect_left(self._sorted, statistics.min)
        return first < len(self._sorted) and bool(self._sorted[first] <= statistics.max)

    def mask(self, column: Any) -> Any:
        """Return which of a column's values are among them."""
        return pc.is_in(column, value_set=self._values)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise IntegrityError(
            f"{path} cannot be read, and has rows to keep: {error} ({_DROP})"
        ) from error
