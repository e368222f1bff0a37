"""A package imports only packages before it: the way of the data has one direction."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import streamlic

ROOT = Path(streamlic.__file__).parent
ALLOWED: dict[str, set[str]] = {
    "_version": set(),
    "errors": set(),
    "formatting": set(),
    "validation": {"errors"},
    "system": {"errors"},
    "schema": {"errors"},
    "resources": {"errors", "schema", "validation"},
    "truto": {"_version", "errors", "formatting", "resources", "validation"},
    "decoder": {"errors", "resources", "schema"},
    "storage": {"errors", "formatting", "validation"},
    "tables": {"errors", "storage"},
    "dataset": {"errors", "formatting", "schema", "storage", "tables"},
    "job": {
        "dataset", "decoder", "errors", "formatting", "resources", "schema", "storage", "system",
        "tables", "truto",
    },
    "api": {"dataset", "decoder", "errors", "job", "resources", "schema", "system", "truto"},
    "terminal": {"job", "formatting", "system", "truto"},
    "reports": {"dataset", "job", "formatting"},
    "diagnostics": {
        "_version", "decoder", "errors", "job", "formatting", "storage", "system", "truto",
    },
    "emulator": {"_version", "errors", "system"},
}  # fmt: skip
"""What each package may import beside itself. The command line may import all of them."""
FILES = sorted(ROOT.rglob("*.py"))
KNOWN = {
    "dataset/inspect.py": {"cli", "formatting"},
    "storage/local.py": {"truto"},
    "truto/accounts.py": {"decoder", "job"},
}
"""What does not keep to the rules yet."""


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(text: str) -> set[str]:
    """Return the packages of streamlic that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    parts = [name.split(".") for name in names]
    return {part[1] for part in parts if part[0] == "streamlic" and len(part) > 1}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_package_imports_only_packages_before_it(path: Path) -> None:
    package = package_of(path)
    if package in ALLOWED:
        known = KNOWN.get(str(path.relative_to(ROOT)), set())
        allowed = {package, *ALLOWED[package], *known}
        assert imported(path.read_text()) & set(ALLOWED) <= allowed


def test_only_what_asks_and_the_emulator_import_aiohttp() -> None:
    users = {package_of(path) for path in FILES if "import aiohttp" in path.read_text()}
    assert users <= {"truto", "client", "network_errors", "emulator"}
