"""``streamlic inspect``: what is in a lake."""

from __future__ import annotations

import json

import click

from streamlic.cli.option_sources import SettingsCommand
from streamlic.cli.options import json_option, options, output
from streamlic.cli.resume_command import add_resume_commands
from streamlic.cli.settings import InspectSettings, takes
from streamlic.cli.watch import reading
from streamlic.resources.licenses import LICENSES


@click.command(cls=SettingsCommand)
@click.argument("dest", type=click.Path())
@options(
    output("-v", "--verbose", is_flag=True, help="Show every run and every column."),
    json_option,
)
@takes(InspectSettings)
def inspect(settings: InspectSettings) -> None:
    """Show what is in DEST: licenses, accounts, nights, vendors, and rescued values.

    Reads the commit log, the files' footers, and what neither describes: status and _rescued; with
    --verbose or --json also columns without statistics.
    """
    from streamlic.dataset.inspect import inspect_dataset, published_bytes
    from streamlic.storage.open_store import open_store

    dest, is_verbose = settings.dest, settings.verbose
    store = open_store(dest)
    with reading("reading", lambda: published_bytes(store)) as on_bytes:
        found = inspect_dataset(
            store,
            on_bytes,
            status_column=LICENSES.status_column,
            counts_nulls=is_verbose or settings.as_json,
        )
    add_resume_commands(dest, found.runs)
    if settings.as_json:
        click.echo(json.dumps(found.as_json(dest)))
        return
    from streamlic.reports.inspection import inspection_text

    click.echo(inspection_text(found, dest, is_verbose=is_verbose))
