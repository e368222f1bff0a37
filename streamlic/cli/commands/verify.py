"""``streamlic verify``: a dataset's files compared with its commit log."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from streamlic.cli.option_sources import SettingsCommand
from streamlic.cli.options import json_option
from streamlic.cli.settings import DatasetSettings, takes
from streamlic.cli.watch import reading
from streamlic.errors import IntegrityError
from streamlic.formatting import counted


@click.command(cls=SettingsCommand)
@click.argument("dest", type=click.Path())
@json_option
@takes(DatasetSettings)
def verify(settings: DatasetSettings) -> None:
    """Check the tables in DEST against their commit log.

    Reads every file of licenses, accounts and runs, and writes nothing. Exits with 5 if a file is
    missing, altered, or not in the commit log, and with 2 if there is no lake.
    """
    from streamlic.dataset.verify import promised_bytes, verify_dataset
    from streamlic.reports.text import verify_text
    from streamlic.storage.open_store import open_store
    from streamlic.tables.formats import unlike_the_log

    dest = settings.dest
    store = open_store(dest)
    with reading("verifying", lambda: promised_bytes(store)) as on_bytes:
        report = verify_dataset(store, on_bytes)
    if report.runs:
        report.problems += unlike_the_log(store)
    shown = json.dumps({**asdict(report), "sound": report.is_sound})
    click.echo(shown if settings.as_json else verify_text(report, dest))
    if not report.is_sound:
        raise IntegrityError(f"{counted(len(report.problems), 'problem')} found in {dest}")
