"""What ``inspect`` prints: licenses, accounts, nights and vendors first, then files and columns."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from streamlic.dataset.inspect import ColumnFacts, Inspection
from streamlic.dataset.nights import Night, Vendor
from streamlic.formatting import bytes_text, clipped, counted
from streamlic.reports.table import laid_out
from streamlic.reports.text import WIDTH, wrapped

_SHOWN_NIGHTS = 10
_ALWAYS = ("licenses", "read")
_SHOWN_RUNS = 20
_SHOWN_VALUES = 20


def inspection_text(found: Inspection, dest: str, *, is_verbose: bool = False) -> str:
    """Show what is in a lake; ``is_verbose`` adds each run and each column."""
    lines = [*wrapped(_headline(found)), _totals(found, dest)]
    if found.interrupted:
        lines += wrapped(f"note: {found.interrupted}")
    lines += [f"problem: {problem}" for problem in found.problems]
    if found.problems:
        lines.append(f"check it: streamlic verify {shlex.quote(dest)}")
    if found.nights:
        lines += ["", *_night_lines(found.nights)]
    runs = [run for run in found.runs if is_verbose or not run["complete"]]
    if len(runs) > _SHOWN_RUNS:
        left_out = counted(len(runs) - _SHOWN_RUNS, "earlier run")
        lines += ["", f"{left_out} not shown: --json lists all"]
    for run in runs[-_SHOWN_RUNS:]:
        lines += ["", *_run_lines(run)]
    if found.vendors:
        lines += ["", *_vendor_lines(found.vendors)]
    if found.statuses:
        lines += ["", "status", *_status_lines(found)]
    if found.rescues:
        lines += ["", "rescued, by JSON pointer (* is any index), each with an example"]
        for one in found.rescues[:_SHOWN_VALUES]:
            start = f"{one.count:>13,}  {clipped(one.pointer, 40):<24}  "
            lines.append(start + clipped(one.example, max(WIDTH - len(start), 12)))
        lines += _more(found.rescues, "pointers")
    if found.rows:
        lines += ["", *_column_lines(found, is_verbose=is_verbose)]
    return "\n".join(lines)


def _headline(found: Inspection) -> str:
    """Say what the newest night brought, in one sentence."""
    if not found.nights:
        return "no night is complete yet"
    night = found.nights[-1]
    present = night.accounts_read + night.accounts_carried_over
    text = f"{counted(night.licenses, 'license')} of {counted(present, 'account')}"
    if known := sum(one.integration is not None for one in found.vendors):
        text += f" ({counted(known, 'integration')})"
    text += f", night of {_minute(night.started_at)} UTC"
    for count, what in (
        (night.accounts_skipped, "skipped"),
        (night.accounts_failed, "failed"),
        (night.accounts_dropped, "dropped"),
    ):
        if count:
            text += f", {counted(count, 'account')} {what}"
    if night.accounts_carried_over:
        text += f", {night.accounts_carried_over:,} carried over"
        if night.oldest_carried_over:
            text += f" since {night.oldest_carried_over[:10]}"
    return text


def _totals(found: Inspection, dest: str) -> str:
    nights = counted(len(found.nights), "night")
    if found.expired:
        nights += f" ({found.expired:,} older expired)"
    files = f"{counted(found.files, 'part file')}, {bytes_text(found.bytes)}"
    tables = "" if found.format.name == "parquet" else f", {found.format.name.capitalize()} tables"
    seen = "committed, but not yet all seen by readers" if found.interrupted else "that readers see"
    return f"{dest}: {nights}, {counted(found.rows, 'license')} {seen}, {files}{tables}"


def _night_lines(nights: Sequence[Night]) -> Iterator[str]:
    """Show the latest nights as a table, the newest first."""
    latest = nights[: -_SHOWN_NIGHTS - 1 : -1]
    rows = [
        {
            "night (UTC)": _minute(one.started_at),
            "key": one.run_key,
            "mode": one.mode,
            "licenses": one.licenses,
            "read": one.accounts_read,
            "skipped": one.accounts_skipped,
            "failed": one.accounts_failed,
            "carried_over": one.accounts_carried_over,
            "rescued": one.rescued,
        }
        for one in latest
    ]
    # What no night has takes no room.
    names = [name for name in rows[0] if name in _ALWAYS or any(row[name] for row in rows)]
    laid = laid_out(rows, names, WIDTH, is_grouped=True)
    yield from laid.lines
    if laid.left_out:
        yield f"not shown: {', '.join(laid.left_out)} (--json has all)"
    if len(nights) > len(latest):
        yield f"and {counted(len(nights) - len(latest), 'earlier night')}: --json lists all"


def _vendor_lines(vendors: Sequence[Vendor]) -> Iterator[str]:
    rows = [
        {
            "integration": one.integration or "(not known)",
            "accounts": one.accounts,
            "licenses": one.licenses,
        }
        for one in vendors
    ]
    shown = rows[:_SHOWN_VALUES]
    yield from laid_out(shown, list(rows[0]), WIDTH, is_grouped=True).lines
    if len(rows) > len(shown):
        yield f"and {counted(len(rows) - len(shown), 'more integration')}: --json lists all"


def _minute(moment: str) -> str:
    """Return a moment of the log to the minute: ``2026-11-26 01:00``."""
    return moment[:16].replace("T", " ")


def _run_lines(run: dict[str, Any]) -> Iterator[str]:
    left = run["accounts"] - run["accounts_done"]
    state = "complete" if run["complete"] else "unfinished"
    if run["complete"] and left:
        state += f", without {counted(left, 'account')}"
    if not run["published"]:
        state += ", not visible to readers yet"
    yield f"run {run['run']}: {state}"
    yield (
        f"  started {run['started_at'].replace('T', ' ').replace('+00:00', ' UTC')}, "
        f"{run['accounts_done']:,} of {counted(run['accounts'], 'account')} done"
    )
    yield (
        f"  {counted(run['rows'], 'row')} from {counted(run['pages'], 'page')} in "
        f"{counted(run['parts'], 'part file')}, {bytes_text(run['bytes'])}, "
        f"{run['rescued']:,} rescued" + (", partial" if run["partial_response"] else "")
    )
    if carried := run["carried_over"]:
        rows = counted(sum(one["rows"] for one in carried), "row")
        yield f"  {rows} of {counted(len(carried), 'account')} were carried over"
    if run["shards"] and not run["complete"]:
        yield from wrapped(f"  {_shards(run['shards'])}")
    if not run["complete"]:
        is_body = "source" in run["request"]
        connection = "" if is_body else ", with the connection options of that run (--base-url)"
        yield f"  to resume{connection}:"
        yield f"  {run['resume_command']}"


def _shards(shards: dict[str, Any]) -> str:
    """Say which shards of a run have ended, which processes read now, and which are left."""
    ended, active = shards["ended"], shards["active"]
    left = [one for one in range(1, shards["of"] + 1) if one not in (*ended, *active)]
    parts = [
        f"{', '.join(map(str, numbers))} {singular if len(numbers) == 1 else plural}"
        for numbers, singular, plural in (
            (ended, "has ended", "have ended"),
            (active, "is being read", "are being read"),
            (left, "is left", "are left"),
        )
        if numbers
    ]
    return f"of {shards['of']} shards {'; '.join(parts)}"


def _column_lines(found: Inspection, *, is_verbose: bool) -> Iterator[str]:
    ratio = _ratio(found.uncompressed_bytes, found.compressed_bytes)
    yield (
        f"columns: {bytes_text(found.uncompressed_bytes)} encoded, "
        f"{bytes_text(found.compressed_bytes)} compressed, {ratio} to 1"
        + ("" if is_verbose else " (each: --verbose)")
    )
    if not is_verbose:
        return
    yield f"  {'':24}{'nulls':>13}{'compressed':>13}{'share':>9}{'ratio':>9}"
    for column in sorted(found.columns, key=lambda one: -one.compressed_bytes):
        yield _column_line(column, found.compressed_bytes)


def _column_line(column: ColumnFacts, all_bytes: int) -> str:
    share = column.compressed_bytes / max(all_bytes, 1)
    ratio = _ratio(column.uncompressed_bytes, column.compressed_bytes)
    return (
        f"  {clipped(column.name, 24):24}{column.nulls:>13,}"
        f"{bytes_text(column.compressed_bytes):>13}{share:>9.1%}{ratio:>9}"
    )


def _ratio(uncompressed: int, compressed: int) -> str:
    return f"{uncompressed / max(compressed, 1):,.1f}"


def _status_lines(found: Inspection) -> list[str]:
    ordered = sorted(found.statuses.items(), key=lambda one: -one[1])
    lines = [
        f"{count:>13,}  {'null' if value is None else clipped(value, WIDTH - 16)}"
        for value, count in ordered[:_SHOWN_VALUES]
    ]
    return lines + _more(ordered, "values")


def _more(values: list[Any], what: str) -> list[str]:
    more = len(values) - _SHOWN_VALUES
    return [f"{'':13}  and {more:,} more {what}: --json lists all"] if more > 0 else []
