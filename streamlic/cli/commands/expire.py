"""``streamlic expire``: the licenses of old runs let go, and the log that only they needed."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from streamlic.cli.option_sources import SettingsCommand
from streamlic.cli.options import dataset, options, upkeep_options
from streamlic.cli.settings import ExpireSettings, takes
from streamlic.errors import UsageError


@click.command(cls=SettingsCommand)
@click.argument("dest", type=click.Path())
@options(
    dataset("--keep", type=int, metavar="N",
            help="How many of the newest complete runs keep their licenses. It has no default."),
    *upkeep_options,
)  # fmt: skip
@takes(ExpireSettings)
def expire(settings: ExpireSettings) -> None:
    """Let the licenses of old runs in DEST go.

    The newest --keep complete runs stay as they are. Of older ones the rows of accounts and runs
    stay; their licenses go, and the records of the log that no other run needs. A lake that is
    written with --mode overwrite keeps its current state.
    """
    from streamlic.job.options import JobOptions
    from streamlic.reports.upkeep import expire_text
    from streamlic.tables.upkeep import expire

    if settings.keep is None:
        raise UsageError("expected how many runs keep their licenses, got none", parameter="keep")
    dest = settings.dest
    job = JobOptions(**settings.for_job())
    store, options = job.open_store(dest), job.write_options
    done = expire(store, keep=settings.keep, options=options, dry_run=settings.dry_run)
    if settings.as_json:
        facts = {"dest": dest, "dry_run": settings.dry_run, **asdict(done)}
        click.echo(json.dumps(facts))
    else:
        click.echo(expire_text(done, dest, is_dry_run=settings.dry_run))
