"""What a run that overwrites keeps of the runs that it replaces.

Rules:
1. The rows of accounts that the run read to the end are replaced. All other accounts' rows are
   carried over as they are: skipped accounts, failed ones, and those that nobody asked for.
2. Readers see one of both: where an account's earlier rows are carried over, the pages that the run
   has of it go, and the part files that hold them are written again without them.
3. The commit logs tell which accounts there are, the statistics of row groups where they may be.
   A row group without any of them is not decoded; any other one is read in bounded batches.
4. The logs tell how many rows an account has: fewer or more are an error, and nothing is replaced.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from streamlic.commits import Carried, ResumePoint, Run, load_run
from streamlic.dataset import ACCOUNT_COLUMN, DatasetWriter, PartFile
from streamlic.errors import DatasetConflict, IntegrityError

ABSENT_ACCOUNTS = ("keep", "drop")
NOT_ASKED_FOR = "not asked for"
_DROP = "--absent-accounts drop leaves them out"
_BATCH_ROWS = 8_192
_READ_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True)
class Carrying:
    """The accounts to carry over, each with its rows and the reason, and the runs that have them.

    A batch takes about ``batch_bytes``.
    """

    accounts: Mapping[str | None, Carried]
    replaced: Sequence[Run]
    batch_bytes: int

    def superseded(self, run: Run) -> list[str]:
        """Return the run's part files that hold rows of accounts which are carried over."""
        partial = self.partial(run)
        return [
            file.name for file in run.files if partial and _has(_staged(run, file.name), partial)
        ]

    def partial(self, run: Run) -> set[str | None]:
        """Return the accounts to carry over of which the run has committed pages."""
        return {account for account in self.accounts if run.point(account).rows}

    def write(self, run: Run, superseded: Iterable[str], writer: DatasetWriter) -> None:
        """Write what counts of superseded part files, and the rows that are carried over.

        Raises IntegrityError where the replaced runs have not the rows that their logs promise, or
        a file is not as it was committed: a copy would make its damage look sound.
        """
        partial = self.partial(run)
        staged = {file.name: file for file in run.files}
        for name in superseded:
            path = _staged(run, name)
            _check_content(run, f"{run.staging}/{name}", staged[name])
            for batch in _rows(path, partial, self.batch_bytes, is_without=True):
                writer.write_rows(batch)
        found: Counter[str | None] = Counter()
        for old in self.replaced:
            for file in old.files:
                path = old.store.path(file.name)
                is_checked = False
                for batch in _rows(path, self.accounts.keys(), self.batch_bytes):
                    if not is_checked:
                        _check_content(old, file.name, file)
                        is_checked = True
                    writer.write_rows(batch)
                    for entry in pc.value_counts(batch[ACCOUNT_COLUMN]).to_pylist():
                        found[entry["values"]] += entry["counts"]
        for account, expected in self.accounts.items():
            if found[account] != expected.rows:
                raise IntegrityError(
                    f"expected {expected.rows:,} rows of account {account} to carry over, "
                    f"got {found[account]:,}: check DEST with streamlic verify ({_DROP})"
                )


def complete_keeping(run: Run, writer: DatasetWriter, keeps: Carrying) -> None:
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
    )


def carrying(run: Run, failed: Mapping[str, str], *, batch_bytes: int) -> Carrying | None:
    """Return what a run that is read has to keep, None if that is nothing.

    ``failed`` are the accounts that were not read to the end, with the reasons. Raises
    DatasetConflict where rows of another schema would have to be kept.
    """
    replaced = replaced_by(run)
    read = [account for account in run.accounts if (account or "") not in failed]
    kept = _not_read(replaced, read)
    if not kept:
        return None
    check_schemas(run.request, read, replaced)
    accounts = {
        account: Carried(rows=rows, reason=_reason(run, failed, account))
        for account, rows in kept.items()
    }
    return Carrying(accounts, [old for old in replaced if kept.keys() & old.account_rows.keys()],
                    batch_bytes)  # fmt: skip


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
    return bool(request.get("is_raw"))


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
    """Yield a part file's rows of these accounts, or with ``is_without`` all others."""
    chosen = _Chosen(accounts)
    with _translated(path), _opened(path) as file:
        for number in range(file.num_row_groups):
            if not is_without and not _are_in(file, number, chosen):
                continue
            group = file.metadata.row_group(number)
            row_bytes = max(group.total_byte_size // max(group.num_rows, 1), 1)
            for batch in file.iter_batches(
                min(max(batch_bytes // row_bytes, 1), _BATCH_ROWS),
                row_groups=[number],
                use_threads=False,
            ):
                mask = chosen.mask(batch[ACCOUNT_COLUMN])
                rows = batch.filter(pc.invert(mask) if is_without else mask)
                if rows.num_rows:
                    yield rows


def _has(path: Path, accounts: Iterable[str | None]) -> bool:
    """Return whether a part file has rows of these accounts."""
    chosen = _Chosen(accounts)
    with _translated(path), _opened(path) as file:
        return any(_are_in(file, number, chosen) for number in range(file.num_row_groups))


def _opened(path: Path) -> pq.ParquetFile:
    return pq.ParquetFile(path, buffer_size=_READ_BUFFER_BYTES, pre_buffer=False)


def _are_in(file: pq.ParquetFile, number: int, chosen: _Chosen) -> bool:
    """Look whether a row group has rows of these accounts: in its statistics, then its column."""
    if not chosen.may_be_in(file.metadata.row_group(number)):
        return False
    column = file.read_row_group(number, [ACCOUNT_COLUMN], use_threads=False)[ACCOUNT_COLUMN]
    return bool(pc.any(chosen.mask(column)).as_py())


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
