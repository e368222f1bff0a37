"""``streamlic sql``: a query over a lake's tables and what is defined on them."""

from __future__ import annotations

import json
import shutil
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import click

from streamlic.cli.option_sources import SettingsCommand
from streamlic.cli.options import options, output, report_memory, scratch
from streamlic.cli.settings import SqlSettings, takes
from streamlic.errors import UsageError

_PIPE_COLUMNS = 120


@click.command(
    cls=SettingsCommand,
    epilog="""\b
Examples:
  streamlic sql lake "select integration, sum(unused_seats) from licenses_now group by all"
  streamlic sql lake "from seat_changes where change = 'gone' limit 20" --json
  streamlic sql lake --views > views.sql
""",
)
@click.argument("dest", type=click.Path())
@click.argument("query", required=False)
@options(
    output("--views", is_flag=True,
           help="Print statements that create the same views in any DuckDB, for BI tools and dbt."),
    output("--json", "as_json", is_flag=True, help="Print each row as one JSON object on a line."),
    report_memory,
    scratch,
)  # fmt: skip
@takes(SqlSettings)
def sql(settings: SqlSettings) -> None:
    """Print the rows of QUERY, in DuckDB's SQL, over the tables of DEST.

    The tables are licenses, accounts and runs; licenses_now has those of the newest night,
    night_licenses those of each night, and seat_changes what changed of each license from one night
    to the next. Nothing can be changed.
    """
    from streamlic.answers.lake_sql import open_sql
    from streamlic.answers.views import views_sql
    from streamlic.job.options import JobOptions
    from streamlic.reports.table import laid_out

    if (settings.query is None) is not settings.views:
        raise UsageError("expected a query, or --views")
    store = JobOptions(scratch=settings.scratch).open_store(settings.dest)
    if settings.query is None:
        click.echo(views_sql(store), nl=False)
        return
    opened = open_sql(store, memory_bytes=settings.memory_bytes, scratch=settings.scratch)
    with opened as lake:
        names, rows = lake.ask(settings.query)
        if settings.as_json:
            for row in rows:
                click.echo(json.dumps(row, default=_plain, ensure_ascii=False))
            return
        width = shutil.get_terminal_size((_PIPE_COLUMNS, 0)).columns
        for line in laid_out(rows, names, width, keeps_all=True).lines:
            click.echo(line)


def _plain(value: Any) -> Any:
    """Return a value that JSON has no type for."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else str(value)
