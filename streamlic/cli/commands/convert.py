"""``streamlic convert``: a saved body into a dataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import click

from streamlic.cli.jobs import job_options_of
from streamlic.cli.main import finish, run
from streamlic.cli.option_sources import SettingsCommand
from streamlic.cli.options import body, body_options, job_options, options
from streamlic.cli.settings import ConvertSettings, takes
from streamlic.cli.watch import log_of_command, watching
from streamlic.errors import UsageError
from streamlic.system.lean_arrow import load_arrow
from streamlic.truto.request import LicensesRequest


@click.command(cls=SettingsCommand)
@click.argument("source", type=click.Path(allow_dash=True), metavar="SOURCE|-")
@click.argument("dest", type=click.Path())
@options(
    body("--account", metavar="ID", help="Integrated account that the body came from."),
    *body_options,
)
@job_options
@takes(ConvertSettings)
def convert(settings: ConvertSettings) -> None:
    """Convert a saved response body, from a file or - for standard input, to Parquet in DEST."""
    load_arrow(settings.dest)
    from streamlic.job.convert import convert_async

    source, dest, account = settings.source, settings.dest, settings.account
    if account is not None:
        account = log_of_command().account = LicensesRequest(account=account).account
    if settings.ndjson is None:
        settings = replace(settings, ndjson=Path(source).suffix in (".ndjson", ".jsonl"))
    if settings.key_by is not None and settings.raw:
        raise UsageError("--key-by excludes --raw: raw rows have no columns for keys")
    options = job_options_of(settings)
    options.open_store(dest)  # Before the body is read: it refuses what cannot be written.
    with opened_body(source) as file:
        with watching(f"convert to {dest}", settings, settings.memory_bytes) as watch:
            job = convert_async(
                file, dest, account=account, name=source, key_by=settings.key_by,
                options=options, on_progress=watch,
            )  # fmt: skip
            summary = run(job)
        finish(summary, dest, settings)


def opened_body(source: str) -> BinaryIO:
    """Open a body; without a buffer, whose lock an abandoned read would hold forever."""
    try:
        if source == "-":
            return open(0, "rb", buffering=0, closefd=False)
        return Path(source).open("rb", buffering=0)
    except OSError as error:
        raise UsageError(f"{source} cannot be read: {error.strerror}") from error
