"""``streamlic export``: accounts' licenses from the API into a dataset."""

from __future__ import annotations

from typing import Any

import click

from streamlic.cli.accounts import requests_named, requests_of, requests_of_all
from streamlic.cli.connection import connection_of
from streamlic.cli.expected_pages import expected_pages
from streamlic.cli.jobs import job_options_of
from streamlic.cli.main import finish, run, show, warn_of_open_files
from streamlic.cli.option_sources import SettingsCommand
from streamlic.cli.options import (
    account,
    account_filters,
    connection_options,
    dataset,
    job_options,
    limit_options,
    options,
    request_options,
    resource,
    retry_options,
    rows_at,
)
from streamlic.cli.settings import ExportSettings, takes
from streamlic.cli.watch import command_again, log_of_command, watching
from streamlic.job.settings import JobSettings
from streamlic.system.lean_arrow import load_arrow


@click.command(
    cls=SettingsCommand,
    epilog="""\b
Examples:
  streamlic export lake --account 62f44730-dd91-461e-bd6a-aedd9e0ad79d
  streamlic export lake --all-accounts --mode overwrite --skip-failed
""",
)
@click.argument("dest", type=click.Path())
@options(
    account("--account", "accounts", metavar="ID", multiple=True,
            help="Integrated account to read; can be repeated."),
    account("--accounts-file", type=click.Path(allow_dash=True), metavar="F|-",
            help="File of accounts: ids, or CSV or JSON lines with request options."),
    account("--all-accounts", is_flag=True,
            help="Read all accounts that Truto lists as active and not blocked."),
    account("--account-details/--no-account-details", default=JobSettings.account_details,
            show_default=True,
            help="Request the integration and tenant of accounts of which they are not known: one "
            "request an account."),
    *account_filters,
    *request_options,
    *connection_options,
    *retry_options,
    *limit_options,
    resource("--concurrency", type=int, metavar="N",
             help="Concurrent pages; by default as many as memory and limits allow."),
    dataset("--shard", metavar="I/N", default=JobSettings.shard,
            help="Read shard I of N of the accounts, of a run that other processes read, too: with "
            "the same --run-key. The run is complete when all shards have ended. --token-share is "
            "by default the same; give 1/1 if the shard has a token of its own."),
    dataset("--skip-failed", is_flag=True,
            help="Complete the run without the accounts that failed. With --mode overwrite, only "
            "if no retry can help them."),
    dataset("--max-absent", metavar="N|P%", default=JobSettings.max_absent,
            help="Most accounts that may be skipped, fail or be dropped; with more, nothing is "
            "published and nothing replaced."),
    rows_at,
)  # fmt: skip
@job_options
@takes(ExportSettings)
def export(settings: ExportSettings) -> None:
    """Export accounts' licenses to Parquet files in DEST.

    Run the same command again to resume an interrupted run, or to retry the accounts that failed.
    """
    load_arrow(settings.dest)
    from streamlic.job.account_details import details_of
    from streamlic.job.export import accounts_of_key, export_async
    from streamlic.job.summary import AccountsFailed

    dest = settings.dest
    options = job_options_of(settings)
    store = options.open_store(dest)  # Before any request: it refuses what cannot be written.
    requests, details = requests_named(settings)
    connection = connection_of(settings, options.own_shard)
    all_of: dict[str, Any] | None = None
    skipped: dict[str, str] = {}
    if settings.all_accounts:
        all_of = {"integration": settings.integration, "tenant": settings.tenant}
        if known := accounts_of_key(store, settings.run_key, restart=settings.restart):
            requests = requests_of(settings, known)
        else:
            # On the same connection, whose rate limits count these requests too.
            listing = requests_of_all(settings, connection)
            requests, discovered = run(listing, says="interrupted", is_all=False)
            skipped = discovered.reasons
            details = {one.id: details_of(one) for one in discovered.readable + discovered.skipped}
    warn_of_open_files(options.pages_at_once(len(requests)))
    log = log_of_command()
    log.account = requests[0].account if len(requests) == 1 else None
    log.resume_command = None if settings.quiet else command_again()
    try:
        with watching(
            f"export to {dest}",
            settings,
            settings.memory_bytes,
            lambda: expected_pages(dest, requests, options.own_shard),
        ) as watch:
            job = export_async(
                dest, requests, connection, options, watch,
                all_of=all_of, skipped=skipped, details=details,
            )  # fmt: skip
            summary = run(job)
    except AccountsFailed as failed:
        show(failed.summary, dest, settings, command_again())
        log.resume_command = None
        raise
    log.resume_command = None  # The run is complete: a later failure cannot be resumed.
    finish(summary, dest, settings)
