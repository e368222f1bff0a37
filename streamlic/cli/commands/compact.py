"""``streamlic compact``: small part files of a lake written into large ones."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from streamlic.cli.option_sources import SettingsCommand
from streamlic.cli.options import options, part_bytes, upkeep_options
from streamlic.cli.settings import CompactSettings, takes
from streamlic.cli.watch import reading


@click.command(cls=SettingsCommand)
@click.argument("dest", type=click.Path())
@options(part_bytes, *upkeep_options)
@takes(CompactSettings)
def compact(settings: CompactSettings) -> None:
    """Write small part files in DEST into large ones.

    Files smaller than half of --part-bytes are written again, in the order of their runs; every row
    stays, with all its columns. Readers may read meanwhile. If the command is interrupted, the next
    one completes what it has recorded.
    """
    from streamlic.job.options import JobOptions
    from streamlic.reports.upkeep import compact_text
    from streamlic.tables.upkeep import compact, compact_bytes

    dest = settings.dest
    job = JobOptions(part_bytes=settings.part_bytes, **settings.for_job())
    store, options = job.open_store(dest), job.write_options
    with reading("compacting", lambda: compact_bytes(store, options)) as on_bytes:
        done = compact(store, options, dry_run=settings.dry_run, on_bytes=on_bytes)
    if settings.as_json:
        facts = {"dest": dest, "dry_run": settings.dry_run, **asdict(done)}
        click.echo(json.dumps(facts))
    else:
        click.echo(compact_text(done, dest, is_dry_run=settings.dry_run))
