"""The commands around the emulated API: to run it, and to see an export from it."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from streamlic.cli.main import run, show
from streamlic.cli.option_sources import SettingsCommand
from streamlic.cli.options import options
from streamlic.cli.types import Number
from streamlic.cli.watch import watching
from streamlic.formatting import counted
from streamlic.truto.request import LicensesRequest


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


@click.command(
    cls=_Emulate,
    epilog="A fault holds for every request for licenses, or as told behind an @, joined by "
    "commas: 3 or 3-7 for these requests, row=5000 for the page that begins there, 5% for so many "
    "at random, times=2 for the first two. For example: --fault reset=3000@5%",
)
@options(
    click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
    click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True,
                 help="Port to listen on; 0 takes a free one."),
    click.option("--records", type=click.IntRange(0, 10**12), default=100_000, show_default=True,
                 help="Licenses of each account."),
    click.option("--seed", type=int, default=7, show_default=True, help="Seed of the records."),
    click.option("--page-size", type=click.IntRange(1, 10**9), default=100, show_default=True,
                 help="Records a page where no limit is asked for."),
    click.option("--latency-ms", type=Number(0, 3_600_000), default=0, show_default=True,
                 help="Milliseconds before each answer."),
    click.option("--accounts", "count", type=click.IntRange(1, 10**6), metavar="N",
                 help="Accounts that exist and are listed; any account does by default."),
    click.option("--sizes", type=click.Choice(["equal", "power-law"]), default="equal",
                 show_default=True, help="Whether a few accounts have far more than --records."),
    click.option("--unhealthy", "unhealthy_share", type=Number(0, 1), default=0,
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

    Its first line of output is its URL. It ends at SIGINT, SIGTERM or SIGHUP.
    """
    from streamlic.emulator import EmulatorConfig, emulated_accounts, parse_fault, serve

    kinds = {name: given.pop(name) for name in ("sizes", "unhealthy_share")}
    made_from = {name: given[name] for name in ("seed", "records")}
    accounts = emulated_accounts(count, **made_from, **kinds) if count else None
    config = EmulatorConfig(accounts=accounts, **given)
    parsed = tuple(map(parse_fault, faults))
    asyncio.run(serve(config, faults=parsed, host=host, port=port, on_ready=click.echo))


@click.command(cls=SettingsCommand)
@click.argument("dest", type=click.Path(), default="demo-licenses")
@click.option("--records", type=click.IntRange(1, 10**12), default=200_000, show_default=True,
              help="Licenses to export.")  # fmt: skip
def demo(dest: str, records: int) -> None:
    """Export licenses from an emulated Truto into DEST and answer a question from them."""
    from streamlic.cli.demo import DEMO_ACCOUNT, DEMO_TOKEN, emulator_process, wasted_seats
    from streamlic.job.job import export_async
    from streamlic.job.options import JobOptions
    from streamlic.storage.local import check_dest
    from streamlic.truto.client import Connection
    from streamlic.truto.credentials import TokenSource

    check_dest(dest)
    given: dict[str, Any] = {"as_json": False, "quiet": False, "verbose": False}
    with emulator_process(records) as url:
        click.echo(
            f"an emulated Truto answers at {url}; exporting {counted(records, 'license')} to {dest}"
        )
        request = LicensesRequest(account=DEMO_ACCOUNT, limit=5000)
        connection = Connection(
            TokenSource.from_value(DEMO_TOKEN), base_url=url, rate_limit=None, is_direct=True
        )
        options = JobOptions(mode="overwrite", restart=True)
        given["memory_bytes"] = options.memory_bytes
        with watching(f"export to {dest}", given) as watch:
            job = export_async(dest, [request], connection, options, watch)
            summary = run(job, says="interrupted; the demo begins anew when it is run again")
    click.echo()
    show(summary, dest, given)
    click.echo("\nWhich licenses waste the most paid seats?")
    click.echo(f"{'license':36}{'licenses':>10}{'unused seats':>14}")
    for waste in wasted_seats(dest):
        click.echo(f"{waste.name:36}{waste.licenses:>10,}{waste.unused_seats:>14,}")
