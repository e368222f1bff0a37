"""``streamlic demo``: an emulated Truto, a week of nights, and the page that answers."""

from __future__ import annotations

import click

from streamlic.cli.option_sources import SettingsCommand
from streamlic.cli.settings import DemoSettings, OutputSettings, takes
from streamlic.errors import UsageError
from streamlic.formatting import counted

_TOP = 5


@click.command(cls=SettingsCommand)
@click.argument("dest", type=click.Path(), default="demo-lake")
@click.option("--records", type=click.IntRange(1, 10**12), default=200_000, show_default=True,
              help="Licenses to export, of all nights together.")  # fmt: skip
@takes(DemoSettings)
def demo(settings: DemoSettings) -> None:
    """Export a week of nights from an emulated Truto to DEST, and report the unused seats.

    DEST must be empty. The report is also written as a page, DEST.html.
    """
    from streamlic.answers.files import write_text
    from streamlic.answers.page import page
    from streamlic.answers.text import report_text
    from streamlic.api.report import report
    from streamlic.cli.demo import ACCOUNTS, NIGHTS, export_nights
    from streamlic.storage.dest_paths import check_directory
    from streamlic.storage.open_store import open_store

    dest = settings.dest
    check_directory(dest)
    if open_store(dest).names():
        raise UsageError(f"{dest} is not empty: delete it, or choose another DEST")
    click.echo(f"{NIGHTS} nights of {ACCOUNTS} customers of an emulated Truto, exported to {dest}:")
    for key, night in export_nights(dest, settings.records, OutputSettings(as_json=False)):
        click.echo(f"{key}  {counted(night.rows, 'license')} in {night.seconds:.1f} s")
    click.echo()
    try:
        found = report(dest, top=_TOP)
        html = page(found, dest)
    except UsageError as error:  # Without the extra, the lake is all there is.
        click.echo(f"no report: {error}, then streamlic report {dest}")
        return
    click.echo(report_text(found))
    path = f"{dest.rstrip('/')}.html"
    write_text(path, html)
    click.echo(f"\nthe same as a page: {path}")
