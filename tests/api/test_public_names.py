"""The public names: all there, typed, and not hidden by a module of the same name."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest

import streamlic
import streamlic.job.export


@pytest.mark.parametrize("name", streamlic.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(streamlic, name) is not None


def test_the_public_names_are_typed() -> None:
    """A type checker reads this: it fails where a signature changes."""
    decoder: streamlic.Decoder = streamlic.open_decoder(engine="reference", batch_rows=10)
    envelope: streamlic.Envelope = decoder.envelope
    rows: int = envelope.rows
    options: streamlic.JobOptions = streamlic.JobOptions(mode="append")
    request: streamlic.LicensesRequest = streamlic.LicensesRequest(
        account="62f44730-dd91-461e-bd6a-aedd9e0ad79d", remote_query={"a": [1]}
    )
    cancel: streamlic.Cancel = threading.Event()
    client = streamlic.Client(
        streamlic.ConnectionSettings(token="token", timeouts=streamlic.Timeouts(silence_seconds=5))
    )
    batches: AsyncGenerator[object, None] = client.licenses(request.account)
    accounts: AsyncGenerator[streamlic.IntegratedAccount, None] = client.accounts(tenant="t")
    export: Callable[..., streamlic.Summary] = streamlic.export
    read: Callable[..., streamlic.LicensesReader] = streamlic.read_licenses
    assert not cancel.is_set()
    assert batches
    assert accounts
    assert rows == 0
    assert options.mode == "append"
    assert request.after(None) is None
    assert callable(export)
    assert callable(read)
    assert Path(streamlic.__file__).with_name("py.typed").exists()


def test_help_comes_without_the_heavy_modules() -> None:
    code = (
        "import sys, streamlic.cli.commands\n"
        "try: streamlic.cli.commands.cli.main(['export', '--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit(bool({'pyarrow', 'aiohttp', 'ijson'} & set(sys.modules)))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert "--account" in ended.stdout
