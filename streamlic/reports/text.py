"""The results of commands as text: at most 80 columns wide, except paths and commands."""

from __future__ import annotations

import shlex
import sys
import textwrap
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

from streamlic.dataset.inspect import ColumnFacts, Inspection
from streamlic.dataset.verify import VerifyReport
from streamlic.errors import described
from streamlic.formatting import bytes_text, clipped, counted, option_of
from streamlic.job.summary import CarriedOverAccount, DroppedAccount, FailedAccount, Summary

_WIDTH = 80
_SHOWN_RUNS = 20
_SHOWN_VALUES = 20
_MESSAGE = 220


def summary_text(summary: Summary, dest: str, resume_command: str | None = None) -> str:
    """Return a job's result and the next steps, in a few lines.

    ``resume_command`` resumes an unfinished run.
    """
    resumed = ", resumed after an interruption" if summary.resumed else ""
    if summary.repeated:
        resumed = " since an earlier command, so nothing was requested"
    named = f"{summary.run} ({summary.run_key})" if summary.run_key else summary.run
    carried_rows = sum(one.rows for one in summary.carried_over)
    speed = summary.bytes_received / max(summary.seconds, 0.001) / 1e6
    lines = [
        f"run {named}: {'complete' if summary.complete else 'unfinished'}{resumed}",
        (
            f"{counted(summary.rows - carried_rows, 'row')} of "
            f"{counted(len(summary.accounts), 'account')} from "
            f"{counted(summary.pages, 'page')} in {counted(summary.parts, 'part file')}"
        ),
        (
            f"{bytes_text(summary.bytes_received)} received, {bytes_text(summary.bytes_written)} "
            f"written in {summary.seconds:,.1f} s ({speed:,.1f} MB/s)"
        ),
        f"{counted(summary.retries, 'retry', 'retries')}, engine {summary.engine}",
    ]
    if summary.rescued:
        fit = "value did not fit its column and is" if summary.rescued == 1 else (
            "values did not fit their columns and are")  # fmt: skip
        lines.append(f"{summary.rescued:,} {fit} kept in _rescued")
    if summary.partial_response:
        lines.append(
            "the response was partial, or named a page that was not read: rows are missing"
        )
    lines += _skipped(summary)
    for one in summary.failed:
        lines += _wrapped(_failure(one))
    lines += _carried_over(summary.carried_over)
    lines += _dropped(summary.dropped)
    for old in summary.discarded:
        named = f"{old.run} ({old.run_key})" if old.run_key else old.run
        lines.append(f"discarded: the unfinished run {named} with {counted(old.rows, 'row')}")
    return "\n".join([*lines, "", *_next_steps(dest, None if summary.complete else resume_command)])


def _skipped(summary: Summary) -> Iterator[str]:
    """Name all skipped accounts, by reason."""
    by_reason: dict[str, list[str]] = {}
    for one in summary.skipped:
        by_reason.setdefault(one.reason, []).append(one.account)
    for reason, accounts in sorted(by_reason.items()):
        yield from _wrapped(f"skipped, {reason}: {', '.join(accounts)}")


def _failure(one: FailedAccount) -> str:
    retry = "a retry may help" if one.retryable else "no retry can help"
    reason = described(clipped(one.reason, _MESSAGE), one.parameter, option_of)
    return f"failed: {one.account} ({retry}): {reason}"


def _carried_over(accounts: list[CarriedOverAccount]) -> Iterator[str]:
    """Name all accounts whose rows were kept, by reason, without the reasons of failed ones."""
    by_reason: dict[str, list[CarriedOverAccount]] = {}
    for one in accounts:
        by_reason.setdefault(one.reason.partition(":")[0], []).append(one)
    if accounts:
        rows = sum(one.rows for one in accounts)
        of = counted(len(accounts), "account")
        yield f"{rows:,} rows of {of} that were not read are carried over"
    for reason, ones in sorted(by_reason.items()):
        named = (f"{one.account or 'no account'} ({counted(one.rows, 'row')})" for one in ones)
        yield from _wrapped(f"carried over, {reason}: {', '.join(named)}")


def _dropped(accounts: list[DroppedAccount]) -> Iterator[str]:
    """Name all accounts that no longer exist."""
    if accounts:
        named = (f"{one.account} ({counted(one.rows, 'row')})" for one in accounts)
        yield from _wrapped(f"dropped, no longer listed: {', '.join(named)}")


def _next_steps(dest: str, resume_command: str | None) -> Iterator[str]:
    if resume_command:
        yield f"resume:  {resume_command}"
    quoted = shlex.quote(dest)
    yield f"verify:  streamlic verify {quoted}"
    yield f"look:    streamlic inspect {quoted}"
    yield f"read:    {read_command(dest)}"


def read_command(dest: str) -> str:
    """Return a command that shows a dataset's first rows with what is installed.

    It uses the command of DuckDB, or else its Python package, or else pyarrow.
    """
    files = str(Path(dest) / "licenses" / "*.parquet")
    if which("duckdb"):
        quoted = files.replace("'", "''")
        query = f"from '{quoted}' limit 10"
        return f"duckdb -c {_quoted(query)}"
    if find_spec("duckdb"):
        program = f"import duckdb; duckdb.read_parquet({files!r}).limit(10).show()"
    else:
        licenses = str(Path(dest) / "licenses")
        program = f"import pyarrow.dataset as ds; print(ds.dataset({licenses!r}).head(10))"
    return f"{_python()} -c {_quoted(program)}"


def _python() -> str:
    """Return the command of the Python that runs this."""
    own = Path(sys.executable)
    found = which("python")
    if found and Path(found).parent == own.parent:
        return "python"
    here = Path.cwd()
    return shlex.quote(str(own.relative_to(here) if own.is_relative_to(here) else own))


def _quoted(text: str) -> str:
    """Return a text as one word of a shell, in double quotes if they are enough."""
    is_plain = not any(character in text for character in '"$`\\!')
    return f'"{text}"' if is_plain else shlex.quote(text)


def verify_text(report: VerifyReport, dest: str) -> str:
    """Return what was verified, with the verdict in the last line."""
    lines = [f"note: {note}" for note in report.notes]
    lines += [f"problem: {problem}" for problem in report.problems]
    lines.append(
        f"{counted(report.runs, 'run')}, {counted(report.files, 'part file')}, "
        f"{counted(report.rows, 'row')}, {bytes_text(report.bytes)}"
    )
    verdict = "sound: every file, byte and row is as committed"
    if not report.is_sound:
        verdict = f"NOT SOUND: {counted(len(report.problems), 'problem')} in {dest}"
    return "\n".join([*lines, verdict])


def inspection_text(found: Inspection, dest: str) -> str:
    """Show what is in a dataset."""
    files = f"{counted(found.files, 'part file')}, {bytes_text(found.bytes)}"
    lines = [f"{dest}: {counted(found.rows, 'row')}, {files}"]
    lines += [f"problem: {problem}" for problem in found.problems]
    if found.problems:
        lines.append(f"check it: streamlic verify {shlex.quote(dest)}")
    left_out = len(found.runs) - _SHOWN_RUNS
    if left_out > 0:
        lines += ["", f"{counted(left_out, 'earlier run')} not shown: --json lists all"]
    for run in found.runs[-_SHOWN_RUNS:]:
        lines += ["", *_run_lines(run)]
    if found.rows:
        lines += ["", *_column_lines(found)]
    if found.statuses:
        lines += ["", "status", *_status_lines(found)]
    if found.rescues:
        lines += ["", "rescued, by JSON pointer (* is any index), each with an example"]
        for one in found.rescues[:_SHOWN_VALUES]:
            start = f"{one.count:>13,}  {clipped(one.pointer, 40):<24}  "
            lines.append(start + clipped(one.example, max(_WIDTH - len(start), 12)))
        lines += _more(found.rescues, "pointers")
    return "\n".join(lines)


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
    if not run["complete"]:
        yield "  to resume, with the connection options of that run (--base-url):"
        yield f"  {run['resume_command']}"


def _column_lines(found: Inspection) -> Iterator[str]:
    ratio = _ratio(found.uncompressed_bytes, found.compressed_bytes)
    yield (
        f"columns: {bytes_text(found.uncompressed_bytes)} encoded, "
        f"{bytes_text(found.compressed_bytes)} compressed, {ratio} to 1"
    )
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
        f"{count:>13,}  {'null' if value is None else clipped(value, _WIDTH - 16)}"
        for value, count in ordered[:_SHOWN_VALUES]
    ]
    return lines + _more(ordered, "values")


def _more(values: list[Any], what: str) -> list[str]:
    more = len(values) - _SHOWN_VALUES
    return [f"{'':13}  and {more:,} more {what}: --json lists all"] if more > 0 else []


def _wrapped(text: str) -> Iterable[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)
