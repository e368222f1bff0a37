"""HACKING.md is a map: everything that it names exists."""

from __future__ import annotations

import re

import pytest

from tests.support.examples import ROOT

HACKING = (ROOT / "HACKING.md").read_text()
NAMED = re.findall(r"`((?:streamlic|tests|docs|benchmarks)/[\w./-]+)`", HACKING)


@pytest.mark.parametrize("name", sorted(set(NAMED)))
def test_a_path_that_the_map_names_exists(name: str) -> None:
    path = ROOT / name
    assert path.is_dir() if name.endswith("/") else path.is_file()


def test_the_map_names_every_package() -> None:
    packages = {path.parent for path in (ROOT / "streamlic").glob("*/__init__.py")}
    named = {ROOT / name for name in NAMED if name.endswith("/")}
    assert packages == {path for path in named if path.parent.name == "streamlic"}


@pytest.mark.parametrize("heading", ["The way of a chunk", "The way of a cursor"])
def test_each_step_of_a_way_names_its_file(heading: str) -> None:
    section = HACKING.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    steps = re.findall(r"^\d+\. (.*(?:\n {3,}.*)*)", section, re.MULTILINE)
    assert len(steps) > 5
    for step in steps:
        assert re.search(r"`streamlic/[\w/]+\.\w+`", step), step
