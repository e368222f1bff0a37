"""``streamlic report``: which seats are unused, what they cost, and how that changes."""

from __future__ import annotations

import click

from streamlic.cli.option_sources import SettingsCommand
from streamlic.cli.options import account_filters, dataset, options, output, report_memory, scratch
from streamlic.cli.settings import ReportSettings, takes


@click.command(
    cls=SettingsCommand,
    epilog="""\b
Examples:
  streamlic report lake
  streamlic report lake --html seats.html --xlsx seats.xlsx --compare 2026-10-01
""",
)
@click.argument("dest", type=click.Path())
@options(
    *account_filters,
    dataset("--as-of", metavar="NIGHT",
            help="Night to report: a run key, a run's id or a UTC date; by default the newest."),
    dataset("--compare", metavar="NIGHT",
            help="Night to compare it with; by default the one a week before."),
    output("--top", type=click.IntRange(1, 1000), metavar="N", default=10, show_default=True,
           help="Rows of each table to show at first."),
    output("--rates", type=click.Path(), metavar="F",
           help="CSV of exchange rates to convert costs with: lines such as EUR,1.08, each what "
           "one unit is worth in --currency."),
    output("--currency", metavar="CODE", help="Currency to convert costs to, with --rates."),
    output("--html", type=click.Path(), metavar="F", help="Write a page, in one file."),
    output("--xlsx", type=click.Path(), metavar="F", help="Write a workbook."),
    output("--csv", type=click.Path(), metavar="DIR", help="Write each table as a CSV file."),
    output("--json", "json_file", type=click.Path(allow_dash=True), metavar="F|-",
           help="Write all tables as one JSON object."),
    report_memory,
    scratch,
)  # fmt: skip
@takes(ReportSettings)
def report(settings: ReportSettings) -> None:
    """Report which seats in DEST are unused, by vendor, product and customer.

    The report says what they cost where prices are known, of how many licenses each figure is
    known, and what changed since an earlier night. What the words mean is on the page.
    """
    import json

    from streamlic.answers.files import as_json, write_csv, write_json, write_sheet, write_text
    from streamlic.answers.page import page
    from streamlic.answers.report import rates_of
    from streamlic.answers.text import report_text
    from streamlic.api.report import report

    found = report(
        settings.dest,
        as_of=settings.as_of,
        compare=settings.compare,
        integration=settings.integration,
        tenant=settings.tenant,
        top=settings.top,
        rates=rates_of(settings.rates, settings.currency),
        currency=settings.currency,
        memory_bytes=settings.memory_bytes,
        scratch=settings.scratch,
    )
    if settings.html:
        write_text(settings.html, page(found, settings.dest))
    if settings.xlsx:
        write_sheet(found, settings.xlsx)
    if settings.csv:
        write_csv(found, settings.csv)
    if settings.json_file == "-":
        click.echo(json.dumps(as_json(found), ensure_ascii=False))
        return
    if settings.json_file:
        write_json(found, settings.json_file)
    click.echo(report_text(found))
    written = [settings.html, settings.xlsx, settings.csv, settings.json_file]
    for path in filter(None, written):
        click.echo(f"written: {path}")
