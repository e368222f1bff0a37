"""The README is short, its commands and programs run, and its figures are measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.examples import ROOT, blocks_of, check_command, commands_in, run_page

README = (ROOT / "README.md").read_text()
SPEED = (ROOT / "docs" / "explanation" / "speed.md").read_text()


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 170


def test_a_reader_gets_the_output_that_the_readme_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRUTO_API_BASE_URL", raising=False)
    run_page(README, tmp_path)


@pytest.mark.parametrize(
    "command",
    [command for block in blocks_of(README) for command in commands_in(block.text)],
    ids=" ".join,
)
def test_streamlic_accepts_every_command_of_the_readme(command: list[str]) -> None:
    check_command(command)


def test_every_figure_of_the_readme_is_one_of_the_benchmarks() -> None:
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    rates = re.findall(r"([\d.]+) MB/s", prose)
    peaks = re.findall(r"(\d+) MiB", prose)
    assert rates
    assert peaks
    for rate in rates:
        assert re.search(rf"\| {re.escape(rate)} \(", SPEED), rate
    for peak in peaks:
        assert f"| {peak} |" in SPEED, peak
