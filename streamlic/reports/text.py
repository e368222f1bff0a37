"""The results of commands as text: at most 80 columns wide, except paths and commands."""

from __future__ import annotations

import shlex
import sys
import textwrap
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from shutil import which

from streamlic.dataset.verify import VerifyReport
from streamlic.errors import described
from streamlic.formatting import bytes_text, clipped, counted, option_of
from streamlic.job.summary import CarriedOverAccount, DroppedAccount, FailedAccount, Summary

WIDTH = 80
_MESSAGE = 220


def summary_text(summary: Summary, dest: str, resume_command: str | None = None) -> str:
    """Return a job's result and the next steps, in a few lines.

    ``resume_command`` resumes an unfinished run.
    """
    resumed = ", resumed after an interruption" if summary.resumed else ""
    if summary.repeated:
        what = "exported" if summary.expired else "requested"
        resumed = f" since an earlier command, so nothing was {what}"
    named = f"{summary.run} ({summary.run_key})" if summary.run_key else summary.run
    carried_rows = sum(one.rows for one in summary.carried_over)
    speed = summary.bytes_received / max(summary.seconds, 0.001) / 1e6
    head = f"run {named}: {_state(summary)}{resumed}"
    if summary.expired:
        return "\n".join([head, *_expired(summary), "", *_next_steps(dest, summary, None)])
    lines = [
        head,
        (
            f"{counted(summary.rows - carried_rows, 'row')} of "
            f"{_accounts(summary)} from "
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
        lines += wrapped(_failure(one))
    lines += _carried_over(summary.carried_over)
    lines += _dropped(summary.dropped)
    for old in summary.discarded:
        named = f"{old.run} ({old.run_key})" if old.run_key else old.run
        lines.append(f"discarded: the unfinished run {named} with {counted(old.rows, 'row')}")
    return "\n".join(
        [*lines, "", *_next_steps(dest, summary, None if summary.complete else resume_command)]
    )


def _accounts(summary: Summary) -> str:
    """Count the accounts; of a run that is complete those that it was completed with."""
    absent = {one.account for one in summary.failed} if summary.complete else set()
    read = sum(one.account not in absent for one in summary.accounts)
    of = f" of {len(summary.accounts):,}" if read < len(summary.accounts) else ""
    return f"{read:,}{of} {'account' if len(summary.accounts) == 1 else 'accounts'}"


def _state(summary: Summary) -> str:
    """Say how far the run is, and which shards of it are left."""
    shard = summary.shard
    if summary.complete or shard is None:
        return "complete" if summary.complete else "unfinished"
    own = f"shard {shard.number} of {shard.of}"
    if not shard.has_ended:
        return f"{own} is unfinished"
    left = [str(one) for one in range(1, shard.of + 1) if one not in shard.ended]
    if not left:
        return "all shards have ended, and the run is unfinished"
    return f"{own} has ended; {', '.join(left)} {'has' if len(left) == 1 else 'have'} not"


def _expired(summary: Summary) -> Iterable[str]:
    return wrapped(
        f"its {counted(summary.rows, 'row')} had expired: streamlic expire let them go, and the "
        "tables accounts and runs still have its history. To export now, use another --run-key"
    )


def _skipped(summary: Summary) -> Iterator[str]:
    """Name all skipped accounts, by reason."""
    by_reason: dict[str, list[str]] = {}
    for one in summary.skipped:
        by_reason.setdefault(one.reason, []).append(one.account)
    for reason, accounts in sorted(by_reason.items()):
        yield from wrapped(f"skipped, {reason}: {', '.join(accounts)}")


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
        yield from wrapped(f"carried over, {reason}: {', '.join(named)}")


def _dropped(accounts: list[DroppedAccount]) -> Iterator[str]:
    """Name all accounts that no longer exist."""
    if accounts:
        named = (f"{one.account} ({counted(one.rows, 'row')})" for one in accounts)
        yield from wrapped(f"dropped, no longer listed: {', '.join(named)}")


def _next_steps(dest: str, summary: Summary, resume_command: str | None) -> Iterator[str]:
    if resume_command:
        yield f"resume:  {resume_command}"
    quoted = shlex.quote(dest)
    yield f"verify:  streamlic verify {quoted}"
    yield f"look:    streamlic inspect {quoted}"
    yield f"read:    {read_command(dest, summary.format, summary.catalog)}"


def read_command(dest: str, table_format: str = "parquet", catalog: str | None = None) -> str:
    """Return a command that shows a dataset's first rows with what is installed.

    Of plain Parquet on a local disk it uses the command of DuckDB, or else its Python package, or
    else pyarrow; of a table format the library that wrote it.
    """
    if table_format == "delta":
        licenses = f"{dest.rstrip('/')}/licenses"
        table = f"deltalake.DeltaTable({licenses!r})"
        program = f"import deltalake; print({table}.to_pyarrow_dataset().head(10))"
        return f"{_python()} -c {_quoted(program)}"
    if table_format == "iceberg":
        name, _, namespace = (catalog or "").partition(".")
        table = f"{namespace or 'streamlic'}.licenses"
        program = (
            "from pyiceberg.catalog import load_catalog; "
            f"print(load_catalog({name!r}).load_table({table!r}).scan(limit=10).to_arrow())"
        )
        return f"{_python()} -c {_quoted(program)}"
    if "://" in dest:
        return f"streamlic head {shlex.quote(dest)}"
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
    tables = sum(table.files > 0 for table in report.tables.values())
    lines.append(
        f"{counted(report.runs, 'run')}, {counted(report.rows, 'license')}, "
        f"{counted(report.files, 'part file')} in {counted(tables, 'table')}, "
        f"{bytes_text(report.bytes)}"
    )
    verdict = "sound: every file, byte and row is as committed"
    if not report.is_sound:
        verdict = f"NOT SOUND: {counted(len(report.problems), 'problem')} in {dest}"
    return "\n".join([*lines, verdict])


def wrapped(text: str) -> Iterable[str]:
    """Break a text into lines that fit a screen."""
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
