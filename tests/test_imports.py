"""A package imports only packages before it: the way of the data has one direction."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import streamlic

ROOT = Path(streamlic.__file__).parent
ALLOWED: dict[str, set[str]] = {
    "_version": set(),
    "errors": set(),
    "formatting": set(),
    "validation": {"errors"},
    "share": {"errors", "validation"},
    "system": {"errors"},
    "schema": {"errors"},
    "resources": {"errors", "schema", "validation"},
    "truto": {"_version", "errors", "formatting", "resources", "share", "validation"},
    "decoder": {"errors", "resources", "schema"},
    "storage": {"errors", "formatting", "system", "validation"},
    "dataset": {"_version", "errors", "formatting", "schema", "share", "storage"},
    "tables": {"dataset", "errors", "formatting", "storage", "system"},
    "job": {
        "dataset", "decoder", "errors", "formatting", "resources", "schema", "share", "storage",
        "system", "tables", "truto", "validation",
    },
    "reports": {"dataset", "errors", "job", "formatting", "tables"},
    "answers": {"_version", "dataset", "errors", "formatting", "reports", "storage"},
    "api": {
        "answers", "dataset", "decoder", "errors", "job", "resources", "schema", "system", "truto",
    },
    "integrations": {
        "api", "dataset", "errors", "formatting", "job", "resources", "schema", "share", "storage",
        "truto", "validation",
    },
    "terminal": {"job", "formatting", "system", "truto"},
    "diagnostics": {
        "_version", "dataset", "decoder", "errors", "formatting", "job", "storage", "system",
        "tables", "truto",
    },
    "emulator": {"_version", "errors", "system"},
}  # fmt: skip
"""What each package may import besides itself. The command line may import all of them."""
LONGEST_MODULE_LINES = 350
MOST_MODULES = 20
FILES = sorted(ROOT.rglob("*.py"))


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
    if package in ("__init__", "__main__", "cli"):
        return
    assert imported(path.read_text()) <= {package, *ALLOWED[package]}


def test_the_rules_name_every_package_and_have_no_cycle() -> None:
    packages = {package_of(path) for path in FILES} - {"__init__", "__main__", "cli"}
    assert packages == set(ALLOWED)
    seen: set[str] = set()
    for package, before in ALLOWED.items():
        assert before <= seen, package
        seen.add(package)


def test_only_what_asks_and_the_emulator_import_aiohttp() -> None:
    users = {
        package_of(path)
        for path in FILES
        if re.search(r"^\s*(import|from) aiohttp", path.read_text(), re.MULTILINE)
    }
    assert users == {"emulator", "truto"}


def test_only_the_entry_of_a_job_and_the_faces_choose_a_store() -> None:
    """All other code takes any Store."""
    users = {
        str(path.relative_to(ROOT))
        for path in FILES
        if re.search(r"storage\.(local|open_store)", path.read_text())
        and package_of(path) not in ("cli", "storage")
    }
    assert users <= {"diagnostics/doctor.py", "diagnostics/object_store.py", "job/options.py"}


def test_what_records_add_up_to_needs_no_store() -> None:
    for name in ("records.py", "run_state.py"):
        assert "store" not in set(re.findall(r"\w+", (ROOT / "dataset" / name).read_text())), name


def test_the_engines_do_not_import_each_other() -> None:
    decoder = ROOT / "decoder"
    shared = [*decoder.glob("*.py"), decoder / "_fast.pyx"]
    for path in shared:
        if path.name != "engines.py":
            assert "decoder.reference" not in path.read_text(), path.name
    for path in (decoder / "reference").glob("*.py"):
        assert "_fast" not in re.sub(r'"""[\s\S]*?"""', "", path.read_text()), path.name


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("streamlic.job.summary", ["aiohttp", "ijson"]),
        ("streamlic.terminal.display", ["aiohttp", "ijson"]),
        ("streamlic.decoder", ["aiohttp", "asyncio", "ijson"]),
        ("streamlic.truto.client", ["ijson", "streamlic.decoder"]),
        ("streamlic.storage.local", ["aiohttp", "pyarrow"]),
        ("streamlic.truto.request", ["aiohttp", "pyarrow"]),
        ("streamlic.cli.commands", ["aiohttp", "ijson", "pyarrow", "rich"]),
    ],
)
def test_a_module_does_not_load_what_it_has_no_use_for(module: str, absent: list[str]) -> None:
    code = f"import sys, {module}; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_init_only_hands_names_on() -> None:
    for path in ROOT.glob("*/**/__init__.py"):
        for node in ast.parse(path.read_text()).body:
            assert isinstance(node, ast.Expr | ast.ImportFrom | ast.Assign), path


def test_no_module_and_no_package_is_too_large() -> None:
    for path in FILES:
        assert len(path.read_text().splitlines()) <= LONGEST_MODULE_LINES, path
    for folder in {path.parent for path in FILES}:
        assert len(list(folder.glob("*.py"))) <= MOST_MODULES, folder
