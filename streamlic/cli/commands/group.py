"""The command line: options in, a summary out. No logic of its own.

Results go to standard output, everything else to standard error. Heavy modules are imported when a
command needs them, so that ``--help`` answers at once.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

import click

from streamlic._version import __version__
from streamlic.cli.accounts_file import CSV_COLUMNS
from streamlic.cli.commands.completion import completion
from streamlic.cli.commands.doctor import doctor
from streamlic.cli.commands.emulate import demo, emulate
from streamlic.cli.main import finish, run, run_command_line, show, tell_memory, tell_open_files
from streamlic.cli.option_names import OptionNames
from streamlic.cli.option_sources import EPILOG, SettingsGroup, config_option
from streamlic.cli.options import (
    account_filters,
    accounts_found,
    connection_named,
    connection_options,
    guard_options,
    job_options,
    options,
    readable_of,
    request_options,
    requests_named,
    requests_of_all,
    waiting_options,
)
from streamlic.cli.resume_command import add_resume_commands
from streamlic.cli.types import license_fields
from streamlic.cli.watch import command_again, log_of_command, reading, watching
from streamlic.errors import IntegrityError, UsageError
from streamlic.formatting import counted
from streamlic.truto.request import LicensesRequest

if TYPE_CHECKING:
    from streamlic.job.options import JobOptions


@click.group(
    cls=SettingsGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="streamlic")
@config_option
def cli(config: str | None) -> None:  # noqa: ARG001  (commands read it from the context)
    """Stream the Truto unified API's licenses into Parquet.

    Memory stays flat whatever the size, and no row is lost or doubled when something breaks.
    """
    if sys.platform == "linux":
        # Measured on exports: jemalloc gives memory back soonest. Arrow reads this when it loads.
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")


@cli.command()
@click.argument("dest", type=click.Path())
@options(
    click.option("--account", "accounts", metavar="ID", multiple=True,
                 help="Integrated account to read; may repeat."),
    click.option("--accounts-file", type=click.Path(allow_dash=True), metavar="F|-",
                 help="File of accounts: ids, or CSV or JSON lines with options of their own."),
    click.option("--all-accounts", is_flag=True,
                 help="Read all accounts that Truto lists as active and not blocked."),
    *account_filters,
    *request_options,
    *connection_options,
    *waiting_options,
    *guard_options,
    click.option("--concurrency", type=int, metavar="N",
                 help="Pages under way at once; by default what memory and limits allow."),
    click.option("--skip-failed", is_flag=True,
                 help="End the run though some accounts failed, and leave them out; but let "
                 "nothing be overwritten where a failure may pass."),
)  # fmt: skip
@job_options
def export(dest: str, **given: Any) -> None:
    """Land accounts' licenses in DEST as Parquet.

    Run the same command again to resume an interrupted run, or to retry the accounts that
    failed.
    """
    from streamlic.job.job import export_async
    from streamlic.job.summary import AccountsFailed
    from streamlic.storage.local import check_dest

    check_dest(dest)  # Before anything is asked.
    requests = requests_named(given)
    options = _job(given, raw=given["response_format"] == "raw")
    connection = connection_named(given)
    all_of: dict[str, Any] | None = None
    skipped: dict[str, str] = {}
    if given["all_accounts"]:
        all_of = {"integration": given["integration"], "tenant": given["tenant"]}
        # Its limits know of them.
        listing = requests_of_all(given, connection)
        requests, skipped = run(listing, says="interrupted", is_all=False)
    tell_open_files(options.pages_at_once(len(requests)))
    log = log_of_command()
    log.account = requests[0].account if len(requests) == 1 else None
    log.resume_command = None if given["quiet"] else command_again()
    try:
        with watching(f"export to {dest}", given) as watch:
            job = export_async(
                dest, requests, connection, options, watch, all_of=all_of, skipped=skipped
            )
            summary = run(job)
    except AccountsFailed as failed:
        show(failed.summary, dest, given, command_again())
        log.resume_command = None
        raise
    log.resume_command = None  # What may fail from here on is not the run.
    finish(summary, dest, given)


@cli.command()
@options(
    *account_filters,
    *connection_options,
    *waiting_options,
    click.option("--json", "as_json", is_flag=True, help="Print the accounts as one JSON object."),
    click.option("--csv", "as_csv", is_flag=True,
                 help="Print those that can be read as CSV, as --accounts-file reads it."),
)  # fmt: skip
def accounts(**given: Any) -> None:
    """List the integrated accounts of the token's environment, and which cannot be read now."""
    if given["as_json"] and given["as_csv"]:
        raise UsageError("--csv goes without --json")
    found, none = run(accounts_found(given, connection_named(given)), says="interrupted")
    if none:
        log_of_command().warning(none)
    if given["as_json"]:
        shown = [{**asdict(one), "readable": one.why_not is None} for one in found]
        click.echo(json.dumps({"accounts": shown}))
    elif given["as_csv"]:
        lines = csv.writer(sys.stdout, lineterminator="\n")
        lines.writerow(CSV_COLUMNS)
        readable, _ = readable_of(found)
        lines.writerows((one.id, one.integration, one.tenant_id) for one in readable)
    else:
        for one in found:
            facts = f"{one.integration or '-':20} {one.tenant_id or '-':20}"
            click.echo(f"{one.id:36}  {facts} {one.why_not or 'active'}")
        unreadable = sum(one.why_not is not None for one in found)
        told = f"{counted(len(found), 'account')}, {unreadable:,} of which cannot be read now"
        click.echo(told, err=True)


@cli.command()
@click.argument("source", type=click.Path(allow_dash=True), metavar="SOURCE|-")
@click.argument("dest", type=click.Path())
@click.option(
    "--lines/--no-lines",
    "ndjson",
    default=None,
    help="Whether the body is newline-delimited records; told by SOURCE's name otherwise.",
)
@click.option("--account", metavar="ID", help="Integrated account that the body came from.")
@click.option("--raw", is_flag=True, help="Keep each record whole, as a raw export does.")
@click.option(
    "--key-by",
    metavar="FIELD",
    shell_complete=license_fields,
    help="Field by which the rows are keyed, where they are an object.",
)
@job_options
def convert(source: str, dest: str, account: str | None, **given: Any) -> None:
    """Land a body that is at hand, a file or - for standard input, in DEST as Parquet."""
    from streamlic.job.convert import convert_async

    if account is not None:
        account = log_of_command().account = LicensesRequest(account=account).account
    if given["ndjson"] is None:
        given["ndjson"] = Path(source).suffix in (".ndjson", ".jsonl")
    if given["key_by"] is not None and given["raw"]:
        raise UsageError("raw rows have their keys in a column: --key-by goes without --raw")
    options = _job(given, raw=given["raw"])
    with _opened(source) as file:
        with watching(f"convert to {dest}", given) as watch:
            job = convert_async(
                file, dest, account=account, name=source, key_by=given["key_by"],
                options=options, on_progress=watch,
            )  # fmt: skip
            summary = run(job)
        finish(summary, dest, given)


@cli.command()
@click.argument("dest", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def verify(dest: str, as_json: bool) -> None:
    """Check that the dataset in DEST is what its commit log promises.

    Reads every file; writes nothing. Ends with 5 where a file is missing, altered or foreign.
    """
    from streamlic.dataset.verify import promised_bytes, verify_dataset
    from streamlic.reports.text import verify_text
    from streamlic.storage.local import LocalStore

    store = LocalStore(dest)
    with reading("verifying", lambda: promised_bytes(store)) as on_bytes:
        report = verify_dataset(store, on_bytes)
    shown = json.dumps({**asdict(report), "sound": report.is_sound})
    click.echo(shown if as_json else verify_text(report, dest))
    if not report.is_sound:
        raise IntegrityError(f"{counted(len(report.problems), 'problem')} found in {dest}")


@cli.command()
@click.argument("dest", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print all of it as one JSON object.")
def inspect(dest: str, as_json: bool) -> None:
    """Show what is in DEST: runs, columns, statuses, and what was rescued.

    Reads what the files' footers do not tell: status, _rescued, and columns without statistics.
    """
    from streamlic.dataset.inspect import inspect_dataset, published_bytes
    from streamlic.reports.text import inspection_text
    from streamlic.storage.local import LocalStore

    store = LocalStore(dest)
    with reading("reading", lambda: published_bytes(store)) as on_bytes:
        found = inspect_dataset(store, on_bytes)
    add_resume_commands(dest, found.runs)
    click.echo(json.dumps(found.as_json(dest)) if as_json else inspection_text(found, dest))


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print the columns as one JSON object.")
def schema(as_json: bool) -> None:
    """Show the columns of a dataset of licenses."""
    from streamlic.dataset.writer import dataset_schema
    from streamlic.resources.license_schema import LICENSE_SCHEMA
    from streamlic.schema.columns import json_role

    columns = [
        {"name": field.name, "type": str(field.type), "json": json_role(field) is not None}
        for field in dataset_schema(LICENSE_SCHEMA)
    ]
    if as_json:
        click.echo(json.dumps({"columns": columns}))
        return
    for column in columns:
        click.echo(f"{column['name']:24}{column['type']}{' (JSON)' if column['json'] else ''}")


def _job(given: dict[str, Any], *, raw: bool) -> JobOptions:
    from streamlic.job.limits import Limits
    from streamlic.job.options import JobOptions

    limits = ("max_pages", "max_records", "max_body_bytes")
    tell_memory(given)
    names = ("rows_at", "engine", "memory_bytes", "part_bytes", "commit_seconds", "compression",
             "max_record_bytes", "max_depth", "mode", "absent_accounts", "restart",
             "strict")  # fmt: skip
    return JobOptions(
        raw=raw,
        ndjson=given.get("ndjson"),
        concurrency=given.get("concurrency"),
        skip_failed=given.get("skip_failed", False),
        limits=Limits(**{name: given[name] for name in limits if name in given}),
        **{name: given[name] for name in names},
    )


def _opened(source: str) -> BinaryIO:
    """Open a body; without a buffer, whose lock a read that was given up would keep for ever."""
    try:
        if source == "-":
            return open(0, "rb", buffering=0, closefd=False)
        return Path(source).open("rb", buffering=0)
    except OSError as error:
        raise UsageError(f"{source} cannot be read: {error.strerror}") from error


for command in (emulate, demo, doctor, completion):
    cli.add_command(command)
OptionNames(cli.commands).give_variables()


def main() -> NoReturn:
    """Run the command line; end the process with one of the documented exit codes."""
    run_command_line(cli)
