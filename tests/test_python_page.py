"""The programs of docs/how-to/python.md run, as scripts and as the cells of a notebook."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from streamlic.emulator import EmulatedAccount, EmulatorConfig
from tests.support.cli import ACCOUNT, OTHER_ACCOUNT, TOKEN
from tests.support.examples import ROOT, blocks_of, run_example
from tests.support.forked import start_forked
from tests.support.server_thread import served

PAGE = (ROOT / "docs" / "how-to" / "python.md").read_text()
EXAMPLES = [block.text for block in blocks_of(PAGE) if block.language == "python"]
ACCOUNTS = {
    account: EmulatedAccount(id=account, records=1000, integration="slack")
    for account in (ACCOUNT, OTHER_ACCOUNT)
}


def _needs_a_loop(example: str) -> bool:
    return "async with" in example


@pytest.mark.parametrize(
    ("number", "in_a_loop"),
    [(i, loop) for i, example in enumerate(EXAMPLES) for loop in (False, True)
     if loop or not _needs_a_loop(example)],
)  # fmt: skip
async def test_an_example_runs_against_a_real_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, in_a_loop: bool
) -> None:
    """Unchanged: only the environment says where the API is."""
    example = EXAMPLES[number]
    with served(EmulatorConfig(accounts=ACCOUNTS, token=TOKEN)) as emulator:
        monkeypatch.chdir(tmp_path)
        env = {**os.environ, "TRUTO_API_TOKEN": TOKEN, "TRUTO_API_BASE_URL": emulator.url}
        process = await start_forked(run_example, example, in_a_loop, env=env)
        out, err = await process.communicate()
        assert (process.returncode, err) == (0, b"")
        assert bool(emulator.requests) == ("open_decoder" not in example)
    prints = re.findall(r"# prints (.*)", example)
    assert not prints or out.decode().splitlines() == prints
    for dest in tmp_path.iterdir():
        licenses = dest if dest.name == "mine" else dest / "licenses"  # One example writes no lake.
        assert ds.dataset(licenses).count_rows() in (1000, 2000)


def test_there_is_an_example_of_each_call() -> None:
    for call in ("export(", "read_licenses(", "Client(", "open_decoder(", "cancel=cancel"):
        assert any(call in example for example in EXAMPLES), call
