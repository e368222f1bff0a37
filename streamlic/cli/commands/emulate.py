"""``streamlic emulate``: a Truto API on this machine."""

from __future__ import annotations

import asyncio

import click

from streamlic.cli.help import group
from streamlic.cli.option_sources import SettingsCommand
from streamlic.cli.options import options
from streamlic.cli.settings import EmulateSettings, takes
from streamlic.cli.types import Number, Share
from streamlic.errors import UsageError

_MOST_RECORDS_BY_NIGHT = 1_000_000  # A night keeps a number for each license in memory.
server = group("Server")
data = group("Accounts and licenses")
faults = group("Limits and faults")


class _Emulate(SettingsCommand):
    """Lists the faults after the options."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each fault with its value and its meaning."""
        from streamlic.emulator import FAULTS

        with formatter.section("Faults, as NAME[=VALUE]"):
            named = [(f"{name}={one.value}" if one.value else name, one.about)
                     for name, one in FAULTS.items()]  # fmt: skip
            formatter.write_dl(named)
        super().format_epilog(ctx, formatter)


@click.command(
    cls=_Emulate,
    epilog="A fault applies to every request for licenses, or to those that conditions after an @ "
    "select, separated by commas: 3 or 3-7 for these requests, row=5000 for the page that starts "
    "there, 5% for a random share, times=2 for the first two. Example: --fault reset=3000@5%",
)
@options(
    server("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
    server("--port", type=click.IntRange(0, 65535), default=0, show_default=True,
           help="Port to listen on; 0 takes a free one."),
    data("--records", type=click.IntRange(0, 10**12), default=100_000, show_default=True,
         help="Licenses of each account."),
    data("--seed", type=int, default=7, show_default=True, help="Seed of the records."),
    data("--page-size", type=click.IntRange(1, 10**9), default=100, show_default=True,
         help="Records per page if the request sets no limit."),
    server("--latency-ms", type=Number(0, 3_600_000), default=0, show_default=True,
           help="Milliseconds before each response."),
    data("--accounts", type=click.IntRange(1, 10**6), metavar="N",
         help="Number of accounts; by default every account id exists and none is listed."),
    data("--sizes", type=click.Choice(["equal", "power-law"]), default="equal",
         show_default=True, help="power-law gives a few accounts far more than --records."),
    data("--unhealthy", "unhealthy_share", type=Share(), default=0, show_default=True,
         metavar="SHARE", help="Share of the accounts that are blocked or need to be reconnected."),
    data("--nights", type=click.IntRange(1, 10_000), default=1, show_default=True, metavar="N",
         help="Number of nights, from night 0 on."),
    data("--changes", type=Share(), default="3%", show_default=True, metavar="SHARE",
         help="About the share of licenses and of accounts that change from night to night."),
    server("--token", metavar="T", help="Token to require; none by default."),
    faults("--rate-limits", is_flag=True, help="Enforce both of Truto's rate limits."),
    data("--integration", type=click.Choice(["generic", "microsoft365", "github"]),
         default="generic", show_default=True, help="Integration whose parameters are required."),
    faults("--partial", "is_partial", is_flag=True, help="Mark every response as partial."),
    server("--compress", is_flag=True, help="Compress bodies if the client accepts it."),
    faults("--fault", "faults", multiple=True, metavar="FAULT[@WHEN]",
           help="What goes wrong, and when, as listed below; can be repeated."),
)  # fmt: skip
@takes(EmulateSettings)
def emulate(settings: EmulateSettings) -> None:
    """Run a Truto API on this machine, for demos, tests and benchmarks.

    The first line of output is its URL. SIGINT, SIGTERM and SIGHUP end it.

    With --nights the data change from night to night, as a function of the seed: seats move,
    licenses and accounts come and go, and an account that is lost comes back. POST
    /emulator/night selects the next night, or with the body {"night": 5} night 5.
    """
    from streamlic.emulator import EmulatorConfig, emulated_accounts, parse_fault, serve

    if settings.nights > 1 and settings.records > _MOST_RECORDS_BY_NIGHT:
        raise UsageError(
            f"expected at most {_MOST_RECORDS_BY_NIGHT:,} licenses of an account with --nights, "
            f"got {settings.records:,}",
            parameter="records",
        )
    accounts = emulated_accounts(
        settings.accounts,
        seed=settings.seed,
        records=settings.records,
        sizes=settings.sizes,
        unhealthy_share=settings.unhealthy_share,
    ) if settings.accounts else None  # fmt: skip
    config = EmulatorConfig(
        records=settings.records,
        seed=settings.seed,
        page_size=settings.page_size,
        latency_ms=settings.latency_ms,
        token=settings.token,
        rate_limits=settings.rate_limits,
        accounts=accounts,
        integration=settings.integration,
        nights=settings.nights,
        changes=settings.changes,
        is_partial=settings.is_partial,
        compress=settings.compress,
    )
    asyncio.run(
        serve(
            config,
            faults=tuple(map(parse_fault, settings.faults)),
            host=settings.host,
            port=settings.port,
            on_ready=click.echo,
        )
    )
