"""``streamlic demo``: an export from the emulator, and one question answered from it."""

from __future__ import annotations

import click

from streamlic.cli.main import run, show
from streamlic.cli.option_sources import SettingsCommand
from streamlic.cli.settings import DemoSettings, OutputSettings, takes
from streamlic.cli.watch import watching
from streamlic.formatting import counted
from streamlic.truto.request import LicensesRequest


@click.command(cls=SettingsCommand)
@click.argument("dest", type=click.Path(), default="demo-lake")
@click.option("--records", type=click.IntRange(1, 10**12), default=200_000, show_default=True,
              help="Licenses to export.")  # fmt: skip
@takes(DemoSettings)
def demo(settings: DemoSettings) -> None:
    """Export licenses from an emulated Truto to DEST and answer a question from them."""
    from streamlic.cli.demo import DEMO_ACCOUNT, DEMO_TOKEN, emulator_process, wasted_seats
    from streamlic.job.export import export_async
    from streamlic.job.options import JobOptions
    from streamlic.storage.dest_paths import check_directory
    from streamlic.truto.client import Connection
    from streamlic.truto.settings import ConnectionSettings

    dest = settings.dest
    check_directory(dest)
    output = OutputSettings(as_json=False)
    with emulator_process(settings.records) as url:
        licenses = counted(settings.records, "license")
        click.echo(f"an emulated Truto runs at {url}; exporting {licenses} to {dest}")
        request = LicensesRequest(account=DEMO_ACCOUNT, limit=5000)
        to_emulator = ConnectionSettings(token=DEMO_TOKEN, base_url=url, rate_limit=None)
        connection = Connection(to_emulator, is_direct=True)
        options = JobOptions(mode="overwrite", restart=True)
        with watching(f"export to {dest}", output, options.memory_bytes) as watch:
            job = export_async(dest, [request], connection, options, watch)
            summary = run(job, says="interrupted; the next demo starts over")
    click.echo()
    show(summary, dest, output)
    click.echo("\nWhich licenses waste the most paid seats?")
    click.echo(f"{'license':36}{'licenses':>10}{'unused seats':>14}")
    for waste in wasted_seats(dest):
        click.echo(f"{waste.name:36}{waste.licenses:>10,}{waste.unused_seats:>14,}")
