"""What ``compact`` and ``expire`` print: what was done, and each table before and after."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from streamlic.formatting import bytes_text, counted
from streamlic.reports.text import wrapped
from streamlic.tables.rewrite import TableSizes, Upkeep
from streamlic.tables.upkeep import Compaction, Expiry


def compact_text(done: Compaction, dest: str, *, is_dry_run: bool) -> str:
    """Return what was compacted, or would be."""
    if not done.rewrites:
        return "\n".join(["nothing to compact", *_tables(done)])
    files = sum(sizes.rewritten_files for sizes in done.tables.values())
    size = sum(sizes.rewritten_bytes for sizes in done.tables.values())
    would = "would be written" if is_dry_run else "were written"
    said = (
        f"{counted(files, 'part file')} of {bytes_text(size)} {would} again, "
        f"as {counted(done.rewrites, 'part file')}"
    )
    return "\n".join([*wrapped(said), *_tables(done), *_next_step(dest, is_dry_run=is_dry_run)])


def expire_text(done: Expiry, dest: str, *, is_dry_run: bool) -> str:
    """Return what expired, or would."""
    lines = ["nothing to expire"]
    if done.expired:
        gone = "would be deleted" if is_dry_run else "were deleted"
        lines = [*wrapped(
            f"the licenses of {counted(len(done.expired), 'run')}, the newest {done.expired[0]}, "
            f"{gone}; {counted(len(done.kept), 'run')} {'is' if len(done.kept) == 1 else 'are'} "
            f"kept, the oldest {done.kept[-1]}"
        )]  # fmt: skip
    would = "would be deleted" if is_dry_run else "deleted"
    if done.records:
        lines.append(f"{counted(done.records, 'record')} of the log {would}")
    if done.old_files:
        files = counted(done.old_files, "part file")
        lines.append(f"{files} {would} that only old versions of the tables had")
    has_done = bool(done.expired or done.records or done.old_files)
    next_step = _next_step(dest, is_dry_run=is_dry_run) if has_done else []
    return "\n".join([*lines, *_tables(done), *next_step])


def _tables(done: Upkeep) -> Iterator[str]:
    for table, sizes in done.tables.items():
        yield f"{table + ':':10} {_sizes(sizes)}"


def _sizes(sizes: TableSizes) -> str:
    before = f"{counted(sizes.files_before, 'part file')}, {bytes_text(sizes.bytes_before)}"
    is_same = (sizes.files_before, sizes.bytes_before) == (sizes.files_after, sizes.bytes_after)
    if is_same:
        return before
    after = counted(sizes.files_after, "part file")
    if sizes.bytes_after is not None:
        after += f", {bytes_text(sizes.bytes_after)}"
    return f"{before}; then {after}"


def _next_step(dest: str, *, is_dry_run: bool) -> list[str]:
    if is_dry_run:
        return ["nothing was changed: leave --dry-run out to do it"]
    return [f"verify:  streamlic verify {shlex.quote(dest)}"]
