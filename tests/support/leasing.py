"""Processes that export with the permits of one server."""

from __future__ import annotations

import sys
import time

import streamlic
from tests.support.reading import settings_of


def export_leased(budget: streamlic.LeasedBudget, url: str, dest: str, accounts: list[str]) -> None:
    """Export, and print when that started and ended. The key is in the environment."""
    started = time.monotonic()
    summary = streamlic.export(
        dest,
        accounts,
        connection=settings_of(url, rate_limit="50/1s", budget=budget),
        options=streamlic.JobOptions(account_details=False),
    )
    sys.stdout.write(f"{started} {time.monotonic()} {summary.rows} {summary.retries}\n")
    sys.stdout.flush()
