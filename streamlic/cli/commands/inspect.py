"""``streamlic inspect``: what is in a dataset."""

from __future__ import annotations

import json

import click

from streamlic.cli.option_sources import SettingsCommand
from streamlic.cli.options import json_option
from streamlic.cli.resume_command import add_resume_commands
from streamlic.cli.settings import DatasetSettings, takes
from streamlic.cli.watch import reading
from streamlic.resources.licenses import LICENSES


@click.command(cls=SettingsCommand)
@click.argument("dest", type=click.Path())
@json_option
@takes(DatasetSettings)
def inspect(settings: DatasetSettings) -> None:
    """Show what is in DEST: runs, columns, statuses, and rescued values.

    Reads the files' footers, and the columns that footers do not describe: status, _rescued, and
    columns without statistics.
    """
    from streamlic.dataset.inspect import inspect_dataset, published_bytes
    from streamlic.reports.text import inspection_text
    from streamlic.storage.local import LocalStore

    dest = settings.dest
    store = LocalStore(dest)
    with reading("reading", lambda: published_bytes(store)) as on_bytes:
        found = inspect_dataset(store, on_bytes, status_column=LICENSES.status_column)
    add_resume_commands(dest, found.runs)
    click.echo(
        json.dumps(found.as_json(dest)) if settings.as_json else inspection_text(found, dest)
    )
