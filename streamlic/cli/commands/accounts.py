"""``streamlic accounts``: the integrated accounts of the token's environment."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import asdict

import click

from streamlic.cli.accounts import log_listing_retry, log_skipped
from streamlic.cli.connection import connection_of
from streamlic.cli.main import run
from streamlic.cli.option_sources import SettingsCommand
from streamlic.cli.options import (
    account_filters,
    connection_options,
    json_option,
    options,
    output,
    retry_options,
)
from streamlic.cli.settings import AccountsSettings, takes
from streamlic.cli.watch import log_of_command
from streamlic.errors import UsageError
from streamlic.formatting import counted
from streamlic.job.accounts_file import CSV_COLUMNS


@click.command(cls=SettingsCommand)
@options(
    *account_filters,
    *connection_options,
    *retry_options,
    json_option,
    output("--csv", "as_csv", is_flag=True,
           help="Print the readable accounts as CSV, for --accounts-file."),
)  # fmt: skip
@takes(AccountsSettings)
def accounts(settings: AccountsSettings) -> None:
    """List the integrated accounts of the token's environment, and which cannot be read now."""
    from streamlic.job.discovery import Discovered, accounts_found

    if settings.as_json and settings.as_csv:
        raise UsageError("--csv excludes --json")
    listing = accounts_found(
        connection_of(settings),
        integration=settings.integration,
        tenant=settings.tenant,
        on_retry=log_listing_retry,
    )
    found, why = run(listing, says="interrupted")
    if why:
        log_of_command().warning(why)
    if settings.as_json:
        shown = [{**asdict(one), "readable": one.why_not is None} for one in found]
        click.echo(json.dumps({"accounts": shown}))
    elif settings.as_csv:
        lines = csv.writer(sys.stdout, lineterminator="\n")
        lines.writerow(CSV_COLUMNS)
        discovered = Discovered.of(found)
        log_skipped(discovered)
        lines.writerows((one.id, one.integration, one.tenant_id) for one in discovered.readable)
    else:
        for one in found:
            facts = f"{one.integration or '-':20} {one.tenant_id or '-':20}"
            click.echo(f"{one.id:36}  {facts} {one.why_not or 'active'}")
        unreadable = sum(one.why_not is not None for one in found)
        counts = f"{counted(len(found), 'account')}, {unreadable:,} of which cannot be read now"
        click.echo(counts, err=True)
