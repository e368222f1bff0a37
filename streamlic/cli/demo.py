"""The demonstration: an emulated Truto, and a lake of the nights of its accounts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from streamlic.cli.main import run
from streamlic.cli.settings import OutputSettings
from streamlic.cli.watch import watching
from streamlic.errors import TransportError
from streamlic.job.account_details import details_of
from streamlic.job.discovery import discover
from streamlic.job.export import export_async
from streamlic.job.options import JobOptions
from streamlic.job.summary import Summary
from streamlic.truto.client import Connection
from streamlic.truto.request import LicensesRequest
from streamlic.truto.settings import ConnectionSettings

DEMO_TOKEN = "demo-token"  # noqa: S105  (it opens the emulator only)
ACCOUNTS = 40
NIGHTS = 8
"""A week, and the night that it is compared with."""


@contextmanager
def emulator_process(records: int, *options: str) -> Iterator[str]:
    """Run the emulator in a process of its own; yield its URL."""
    command = [sys.executable, "-m", "streamlic", "--config", os.devnull, "emulate"]
    # Without the settings of the environment and of a file: they are for other emulators.
    env = {name: value for name, value in os.environ.items() if not name.startswith("STREAMLIC_")}
    with subprocess.Popen(  # noqa: S603  (our own interpreter and our own module)
        [*command, "--records", str(records), "--token", DEMO_TOKEN, *options],
        env=env,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            url = process.stdout.readline().strip() if process.stdout else ""
            if not url:
                raise TransportError("the emulator did not start", retryable=False)
            yield url
        finally:
            process.terminate()


def export_nights(dest: str, records: int, output: OutputSettings) -> Iterator[tuple[str, Summary]]:
    """Export each night of an emulated API to ``dest``; yield its run key and the summary.

    ``records`` are about the licenses of all nights together.
    """
    of_each = max(records // (ACCOUNTS * NIGHTS), 1)
    options = ["--accounts", str(ACCOUNTS), "--nights", str(NIGHTS), "--unhealthy", "5%"]
    with emulator_process(of_each, *options) as url:
        settings = ConnectionSettings(token=DEMO_TOKEN, base_url=url, rate_limit=None)
        last = datetime.now(UTC).date()
        for night in range(NIGHTS):
            _select(url, night)
            key = f"{last - timedelta(days=NIGHTS - 1 - night)}"
            yield key, _export(dest, key, settings, output)


def _export(dest: str, key: str, settings: ConnectionSettings, output: OutputSettings) -> Summary:
    # A new connection a night: one that was used cannot be entered again.
    found = run(discover(Connection(settings, is_direct=True)), says="interrupted", is_all=False)
    requests = [LicensesRequest(account=one.id, limit=5000) for one in found.readable]
    options = JobOptions(mode="append", run_key=key)
    with watching(f"night {key}", output, options.memory_bytes) as watch:
        job = export_async(
            dest,
            requests,
            Connection(settings, is_direct=True),
            options,
            watch,
            all_of={"integration": None, "tenant": None},
            skipped=found.reasons,
            details={one.id: details_of(one) for one in found.readable + found.skipped},
        )
        return run(job, says="interrupted; the next demo needs another DEST")


def _select(url: str, night: int) -> None:
    """Select the emulator's night."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    direct.open(f"{url}/emulator/night", json.dumps({"night": night}).encode()).close()
