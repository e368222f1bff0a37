"""A module imports only modules above it: the way of the data has one direction."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import streamlic

ORDER = [
    "_version",
    "signals",
    "checks",
    "errors",
    "hiding",
    "file_kinds",
    "machine",
    "hints",
    "amounts",
    "waits",
    "wait_headers",
    "schema",
    "request",
    "accounts_file",
    "pacing",
    "turns",
    "proxies",
    "credentials",
    "encoding",
    "answers",
    "network_errors",
    "client",
    "decoder",
    "page_checks",
    "discovery",
    "bodies",
    "small_pages",
    "pipeline",
    "paths",
    "locks",
    "store",
    "parts",
    "dataset",
    "commits",
    "batch_sizes",
    "carrying",
    "runs",
    "dispatch",
    "verify",
    "rescues",
    "going_on",
    "inspection",
    "job_options",
    "committer",
    "summary",
    "stopping",
    "job",
    "conversion",
    "blocking",
    "api",
    "reading",
    "doctor",
    "results",
    "process_memory",
    "log_lines",
    "progress",
    "frames",
    "display",
    "demo",
    "cli_types",
    "cli_watch",
    "cli_options",
    "option_names",
    "config_file",
    "cli_settings",
    "cli_doctor",
    "cli_completion",
    "cli_streams",
    "cli_running",
    "cli_emulator",
    "cli",
]
ROOT = Path(streamlic.__file__).parent


def imported(path: Path) -> set[str]:
    """Return the names of streamlic's own top modules that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    parts = [name.split(".") for name in names]
    return {part[1] for part in parts if part[0] == "streamlic" and len(part) > 1}


def module_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: path.stem)
def test_imports_point_upwards(path: Path) -> None:
    here = module_of(path)
    if here in ("__init__", "__main__"):
        return
    known = {name for name in imported(path) if name in ORDER or name == "emulator"}
    if here == "emulator":
        assert known <= {"emulator", "errors", "signals", "_version"}
    else:
        allowed = {
            *ORDER[: ORDER.index(here) + 1],
            *({"emulator"} if here in ("cli_emulator", "demo") else ()),
        }
        assert known <= allowed


def test_only_what_asks_and_the_emulator_import_aiohttp() -> None:
    users = {module_of(path) for path in ROOT.rglob("*.py") if "import aiohttp" in path.read_text()}
    assert users <= {"client", "network_errors", "emulator"}
