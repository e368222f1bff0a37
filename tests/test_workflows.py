"""The workflows and the build's tables: they name what exists, and build what is promised."""

from __future__ import annotations

import os
import re
import tomllib
from typing import Any

import pytest
import yaml

from tests.support.examples import ROOT, check_command, commands_in

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WHEELS = PYPROJECT["tool"]["cibuildwheel"]


def steps_of(name: str) -> list[dict[str, Any]]:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text())
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_the_checks_are_those_of_ci() -> None:
    assert ".ci/run" in [step.get("run") for step in steps_of("checks.yml")]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_wheels_are_built_for_each_platform() -> None:
    text = (ROOT / ".github" / "workflows" / "wheels.yml").read_text()
    matrix = yaml.safe_load(text)["jobs"]["wheels"]["strategy"]["matrix"]
    platforms = {one["platform"]: one["runner"] for one in matrix["include"]}
    assert platforms.keys() == {"linux-x86_64", "linux-aarch64", "macos-arm64"}
    assert platforms["linux-aarch64"].endswith("-arm")
    used = [step.get("uses", "") for step in steps_of("wheels.yml")]
    assert any(one.startswith("pypa/cibuildwheel@") for one in used)
    assert not any("musllinux" in one for one in WHEELS.get("skip", []))


def test_a_wheel_is_built_for_each_python_that_the_project_names() -> None:
    named = {
        found[1]
        for one in PYPROJECT["project"]["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: 3\.(\d+)", one))
    }
    assert {f"cp3{minor}-*" for minor in named} == set(WHEELS["build"])


def test_a_wheel_is_for_the_oldest_python_and_all_newer_ones() -> None:
    oldest = WHEELS["build"][0].removesuffix("-*")
    setup = (ROOT / "setup.py").read_text()
    assert PYPROJECT["project"]["requires-python"] == f">=3.{oldest.removeprefix('cp3')}"
    assert f'"py_limited_api": "{oldest}"' in setup
    assert all(name in setup for name in WHEELS["environment"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read_and_ends(path: Any) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 90
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("name", ["pyproject.toml", "Makefile", ".ci/run"])
def test_every_test_file_that_a_build_names_exists(name: str) -> None:
    named = re.findall(r"\btests/[\w/]+\.(?:py|cpp|dict)", (ROOT / name).read_text())
    assert named
    assert all((ROOT / one).exists() for one in named)


def test_streamlic_accepts_the_commands_that_test_a_wheel() -> None:
    found = [command for text in WHEELS["test-command"] for command in commands_in(text)]
    assert [command[0] for command in found] == ["demo", "verify"]
    for command in found:
        check_command(command)
