"""The command line: options in, a summary out. No logic of its own.

Results go to standard output, everything else to standard error. Heavy modules are imported when a
command needs them, so that ``--help`` answers at once.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import sys
from collections.abc import Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, TypeVar

import click

from streamlic._version import __version__
from streamlic.cli_completion import COMPLETE_VARIABLE, completion
from streamlic.cli_doctor import doctor
from streamlic.cli_options import (
    account_filters,
    accounts_found,
    connection_named,
    connection_options,
    guard_options,
    job_options,
    options,
    request_options,
    requests_named,
    requests_of_all,
)
from streamlic.cli_settings import EPILOG, SettingsCommand, SettingsGroup, config_option
from streamlic.cli_watch import command_again, log_of_command, reading, watching
from streamlic.errors import IntegrityError, StreamlicError, UsageError
from streamlic.log_lines import Log
from streamlic.option_names import OptionNames
from streamlic.request import LicensesRequest

if TYPE_CHECKING:
    from streamlic.job_options import JobOptions
    from streamlic.summary import Summary

T = TypeVar("T")

EXIT_PARTIAL = 3
_GOES_ON = "interrupted; what is committed is kept: run the same command again to go on"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """A signal ended the command; ``says`` is what its user is told."""

    def __init__(self, number: int, says: str) -> None:
        super().__init__(says)
        self.number = number


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
    *guard_options,
    click.option("--concurrency", type=int, metavar="N",
                 help="Pages under way at once; by default what memory and limits allow."),
    click.option("--without-failed", is_flag=True,
                 help="End the run though some accounts failed, and leave them out; but let "
                 "nothing be overwritten where a failure may pass."),
)  # fmt: skip
@job_options
def export(dest: str, **given: Any) -> None:
    """Land accounts' licenses in DEST as Parquet.

    Run the same command again to go on with a run that was interrupted, or with the accounts that
    failed.
    """
    from streamlic.job import export_async
    from streamlic.summary import AccountsFailed

    requests = requests_named(given)
    options = _job(given, is_raw=given["response_format"] == "raw")
    connection = connection_named(given)
    all_of = None
    if given["all_accounts"]:
        all_of = {"integration": given["integration"], "tenant": given["tenant"]}
        # Its limits know of them.
        requests = _run(requests_of_all(given, connection), says="interrupted", is_all=False)
    log = log_of_command()
    log.go_on = None if given["quiet"] else command_again()
    try:
        with watching(f"export to {dest}", given) as watch:
            summary = _run(export_async(dest, requests, connection, options, watch, all_of=all_of))
    except AccountsFailed as failed:
        _show(failed.summary, dest, given, command_again())
        log.go_on = None
        raise
    _finish(summary, dest, given)


@cli.command()
@options(
    *account_filters,
    *connection_options,
    click.option("--json", "as_json", is_flag=True, help="Print the accounts as one JSON object."),
)
def accounts(**given: Any) -> None:
    """List the integrated accounts of the token's environment, and which cannot be read now."""
    found = _run(accounts_found(given, connection_named(given)), says="interrupted")
    if given["as_json"]:
        shown = [{**asdict(one), "readable": one.why_not is None} for one in found]
        click.echo(json.dumps({"accounts": shown}))
        return
    for one in found:
        facts = f"{one.integration or '-':20} {one.tenant_id or '-':20}"
        click.echo(f"{one.id:36}  {facts} {one.why_not or 'active'}")
    unreadable = sum(one.why_not is not None for one in found)
    click.echo(f"{len(found):,} account(s), {unreadable:,} of which cannot be read now", err=True)


@cli.command()
@click.argument("source", type=click.Path(allow_dash=True), metavar="SOURCE|-")
@click.argument("dest", type=click.Path())
@click.option(
    "--lines/--no-lines",
    "is_lines",
    default=None,
    help="Whether the body is newline-delimited records; told by SOURCE's name otherwise.",
)
@click.option("--account", metavar="ID", help="Integrated account that the body came from.")
@click.option("--raw", "is_raw", is_flag=True, help="Keep each record whole, as a raw export does.")
@job_options
def convert(source: str, dest: str, account: str | None, **given: Any) -> None:
    """Land a body that is at hand, a file or - for standard input, in DEST as Parquet."""
    from streamlic.conversion import convert_async

    if account is not None:
        account = LicensesRequest(account=account).account
    if given["is_lines"] is None:
        given["is_lines"] = Path(source).suffix in (".ndjson", ".jsonl")
    options = _job(given, is_raw=given["is_raw"])
    with _opened(source) as file:
        with watching(f"convert to {dest}", given) as watch:
            job = convert_async(
                file, dest, account=account, name=source, options=options, on_progress=watch
            )
            summary = _run(job)
        _finish(summary, dest, given)


@cli.command()
@click.argument("dest", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def verify(dest: str, as_json: bool) -> None:
    """Check that the dataset in DEST is what its commit log promises.

    Reads every file; writes nothing. Ends with 5 where a file is missing, altered or foreign.
    """
    from streamlic.results import verify_text
    from streamlic.store import LocalStore
    from streamlic.verify import promised_bytes, verify_dataset

    store = LocalStore(dest)
    with reading("verifying", lambda: promised_bytes(store)) as on_bytes:
        report = verify_dataset(store, on_bytes)
    shown = json.dumps({**asdict(report), "sound": report.is_sound})
    click.echo(shown if as_json else verify_text(report, dest))
    if not report.is_sound:
        raise IntegrityError(f"{len(report.problems)} problem(s) found in {dest}")


@cli.command()
@click.argument("dest", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print all of it as one JSON object.")
def inspect(dest: str, as_json: bool) -> None:
    """Show what is in DEST: runs, columns, statuses, and what was rescued.

    Reads what the files' footers do not tell: status, _rescued, and columns without statistics.
    """
    from streamlic.inspection import inspect_dataset, published_bytes
    from streamlic.results import inspection_text
    from streamlic.store import LocalStore

    store = LocalStore(dest)
    with reading("reading", lambda: published_bytes(store)) as on_bytes:
        found = inspect_dataset(store, on_bytes)
    click.echo(json.dumps(found.as_json(dest)) if as_json else inspection_text(found, dest))


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print the columns as one JSON object.")
def schema(as_json: bool) -> None:
    """Show the columns of a dataset of licenses."""
    from streamlic.dataset import dataset_schema
    from streamlic.schema import LICENSE_SCHEMA, json_role

    columns = [
        {"name": field.name, "type": str(field.type), "json": json_role(field) is not None}
        for field in dataset_schema(LICENSE_SCHEMA, has_account=True)
    ]
    if as_json:
        click.echo(json.dumps({"columns": columns}))
        return
    for column in columns:
        click.echo(f"{column['name']:24}{column['type']}{' (JSON)' if column['json'] else ''}")


class _Emulate(SettingsCommand):
    """Lists the faults below the options."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the faults, each with its value and what it is."""
        from streamlic.emulator import FAULTS

        with formatter.section("Faults, as NAME[=VALUE]"):
            named = [(f"{name}={one.value}" if one.value else name, one.about)
                     for name, one in FAULTS.items()]  # fmt: skip
            formatter.write_dl(named)
        super().format_epilog(ctx, formatter)


@cli.command(
    cls=_Emulate,
    epilog="A fault holds for every request for licenses, or as told behind an @, joined by "
    "commas: 3 or 3-7 for these requests, row=5000 for the page that begins there, 5% for so many "
    "at random, times=2 for the first two. For example: --fault reset=3000@5%",
)
@options(
    click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
    click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True,
                 help="Port to listen on; 0 takes a free one."),
    click.option("--records", type=click.IntRange(0), default=100_000, show_default=True,
                 help="Licenses of each account."),
    click.option("--seed", type=int, default=7, show_default=True, help="Seed of the records."),
    click.option("--page-size", type=click.IntRange(1), default=100, show_default=True,
                 help="Records a page where no limit is asked for."),
    click.option("--latency-ms", type=click.FloatRange(0), default=0, show_default=True,
                 help="Milliseconds before each answer."),
    click.option("--accounts", "count", type=click.IntRange(1), metavar="N",
                 help="Accounts that exist and are listed; any account does by default."),
    click.option("--sizes", type=click.Choice(["equal", "power-law"]), default="equal",
                 show_default=True, help="Whether a few accounts have far more than --records."),
    click.option("--unwell", "unwell_share", type=click.FloatRange(0, 1), default=0,
                 show_default=True, metavar="SHARE",
                 help="Share of the accounts that are blocked or have to be connected again."),
    click.option("--token", metavar="T", help="Token to demand; none by default."),
    click.option("--rate-limits", is_flag=True, help="Enforce both of Truto's rate limits."),
    click.option("--integration", type=click.Choice(["generic", "microsoft365", "github"]),
                 default="generic", show_default=True, help="Whose required parameters to check."),
    click.option("--partial", "is_partial", is_flag=True, help="Call every answer partial."),
    click.option("--compress", is_flag=True, help="Compress bodies as the client accepts."),
    click.option("--fault", "faults", multiple=True, metavar="FAULT[@WHEN]",
                 help="What goes wrong, and when, as listed below; may repeat."),
)  # fmt: skip
def emulate(host: str, port: int, count: int | None, faults: tuple[str, ...], **given: Any) -> None:
    """Run a Truto API on this machine, for demos, tests and benchmarks.

    Its first line of output is its URL. It ends at SIGINT or SIGTERM.
    """
    from streamlic.emulator import EmulatorConfig, emulated_accounts, parse_fault, serve

    kinds = {name: given.pop(name) for name in ("sizes", "unwell_share")}
    made_from = {name: given[name] for name in ("seed", "records")}
    accounts = emulated_accounts(count, **made_from, **kinds) if count else None
    config = EmulatorConfig(accounts=accounts, **given)
    parsed = tuple(map(parse_fault, faults))
    asyncio.run(serve(config, faults=parsed, host=host, port=port, on_ready=click.echo))


@cli.command()
@click.argument("dest", type=click.Path(), default="demo-licenses")
@click.option("--records", type=click.IntRange(1), default=200_000, show_default=True,
              help="Licenses to export.")  # fmt: skip
def demo(dest: str, records: int) -> None:
    """Export licenses from an emulated Truto into DEST and answer a question from them."""
    from streamlic.client import Connection
    from streamlic.credentials import TokenSource
    from streamlic.demo import DEMO_ACCOUNT, DEMO_TOKEN, emulator_process, wasted_seats
    from streamlic.job import export_async
    from streamlic.job_options import JobOptions

    given: dict[str, Any] = {"as_json": False, "quiet": False, "verbose": False}
    with emulator_process(records) as url:
        click.echo(f"an emulated Truto answers at {url}; exporting {records:,} licenses to {dest}")
        request = LicensesRequest(account=DEMO_ACCOUNT, limit=5000)
        connection = Connection(TokenSource.from_value(DEMO_TOKEN), base_url=url, rate_limit=None)
        options = JobOptions(mode="overwrite", restart=True)
        given["memory_bytes"] = options.memory_bytes
        with watching(f"export to {dest}", given) as watch:
            job = export_async(dest, [request], connection, options, watch)
            summary = _run(job, says="interrupted; the demo begins anew when it is run again")
    click.echo()
    _show(summary, dest, given)
    click.echo("\nWhich licenses waste the most paid seats?")
    click.echo(f"{'license':36}{'licenses':>10}{'unused seats':>14}")
    for waste in wasted_seats(dest):
        click.echo(f"{waste.name:36}{waste.licenses:>10,}{waste.unused_seats:>14,}")


cli.add_command(doctor)
cli.add_command(completion)
OptionNames(cli.commands).give_variables()


def _job(given: dict[str, Any], *, is_raw: bool) -> JobOptions:
    from streamlic.job_options import JobOptions
    from streamlic.page_checks import Guards

    guards = ("max_pages", "max_records", "max_body_bytes")
    names = ("rows_at", "engine", "memory_bytes", "part_bytes", "commit_seconds", "compression",
             "max_record_bytes", "max_depth", "mode", "restart", "is_strict")  # fmt: skip
    return JobOptions(
        is_raw=is_raw,
        is_lines=given.get("is_lines"),
        concurrency=given.get("concurrency"),
        without_failed=given.get("without_failed", False),
        guards=Guards(**{name: given[name] for name in guards if name in given}),
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


def _run(job: Coroutine[Any, Any, T], *, says: str = _GOES_ON, is_all: bool = True) -> T:
    """Run a job to its end; a signal cancels it, once, and is remembered.

    From then on signals are ignored: what is whole is being committed, and that does not take long.
    A signal that comes too late to cancel it counts all the same, unless the job ``is_all``.
    """
    caught: list[int] = []

    async def run() -> T:
        task = asyncio.ensure_future(job)
        loop = asyncio.get_running_loop()

        def stop(number: int, _: object) -> None:
            if not caught:
                caught.append(number)
                loop.call_soon_threadsafe(task.cancel)

        # Not the loop's own handlers: those end with the loop, some time before the process.
        before.update((number, signal.signal(number, stop)) for number in _SIGNALS)
        return await task

    before: dict[int, Any] = {}
    try:
        result = asyncio.run(run())
    except asyncio.CancelledError:
        raise Interrupted(caught[0] if caught else signal.SIGINT, says) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if caught else handler)
    if caught and not is_all:
        raise Interrupted(caught[0], says)
    return result


def _finish(summary: Summary, dest: str, given: dict[str, Any]) -> None:
    _show(summary, dest, given)
    if summary.partial_response:
        sys.exit(EXIT_PARTIAL)


def _show(summary: Summary, dest: str, given: dict[str, Any], go_on: str | None = None) -> None:
    from streamlic.results import summary_text

    if not given["quiet"]:
        log_of_command().summary(summary)
    as_text = summary_text(summary, dest, go_on)
    click.echo(json.dumps(asdict(summary)) if given["as_json"] else as_text)


def _give_up_output() -> None:
    """Let what is left in standard output's buffer go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> NoReturn:
    """Run the command line; end the process with one of the documented exit codes."""
    if sys.stderr is None:  # It was closed, and is no reason not to work.
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  (for as long as the process lives)
    log = Log()
    try:
        code = cli.main(
            prog_name="streamlic", complete_var=COMPLETE_VARIABLE, standalone_mode=False, obj=log
        )
    except click.ClickException as error:
        if log.is_json:
            log.failure("UsageError", error.format_message(), 2)
        else:
            error.show()
        code = 2
    except click.exceptions.Abort:
        code = 128 + signal.SIGINT
    except StreamlicError as error:
        sys.stdout.flush()
        if isinstance(error, UsageError | IntegrityError):
            log.go_on = None  # The same command would end in the same way.
        log.failure(type(error).__name__, str(error), error.exit_code)
        code = error.exit_code
    except Interrupted as interrupted:
        code = 128 + interrupted.number
        log.failure("Interrupted", str(interrupted), code)
    except BrokenPipeError:
        _give_up_output()
        code = 1
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _give_up_output()
        log.failure("OutputFailed", f"standard output cannot be written: {error.strerror}", 1)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
