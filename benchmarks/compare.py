"""This tree compared with another revision: each parsing case of both, interleaved in one run.

This tree's cases measure both, by streamlic's public names, so that every revision that has them
can be compared. One that fails ends the comparison.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from benchmarks.bodies import KINDS, make_body
from benchmarks.measure import ROOT, Case, Group
from benchmarks.plan import Plan

_THIS = "this tree"
_ENGINES = ("reference", "fast")


def groups(plan: Plan, directory: Path, stack: ExitStack, *, base: str) -> list[Group]:
    """Return a comparison for each kind of body and engine. SystemExit if ``base`` is unknown."""
    other = _worktree(base, directory / "worktree", stack)
    this = _copy(directory / "copy")
    paths = {
        base: _installed(other, directory / "base"),
        _THIS: _installed(this, directory / "this"),
    }
    kinds = ["licenses"] if plan.is_quick else [kind for kind in KINDS if "clean" not in kind]
    found = []
    for kind in kinds:
        body = make_body(kind, plan.kinds_bytes, directory)
        for engine in _ENGINES:
            given = {"envelope": str(body.envelope), "engine": engine,
                     "at_least_seconds": plan.at_least_seconds}  # fmt: skip
            cases = [
                Case(name=name, do="decoders.engine", given=given, paths=(path,))
                for name, path in paths.items()
            ]
            about = f"{KINDS[kind].about}: {body.bytes / 1e6:.1f} MB, {body.rows:,} rows"
            found.append(
                Group(part="compare", name=f"{kind}, {engine}", about=about, cases=cases,
                      base=base, rounds=2 * plan.rounds, needs_all=True)
            )  # fmt: skip
    return found


def _worktree(revision: str, target: Path, stack: ExitStack) -> Path:
    """Check the revision out into a directory of its own until the stack closes."""
    git = ["git", "-C", str(ROOT)]
    done = subprocess.run(
        [*git, "worktree", "add", "--quiet", "--detach", str(target), revision], check=False
    )
    if done.returncode:
        raise SystemExit(f"cannot check out {revision!r} (BASE)")
    stack.callback(
        subprocess.run, [*git, "worktree", "remove", "--force", str(target)], check=False
    )
    return target


def _copy(target: Path) -> Path:
    """Copy this tree as it is, without what was built in it: that may be older than its source."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others"]
    names = subprocess.check_output([*command, "--exclude-standard"], text=True)
    for name in names.split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def _installed(tree: Path, target: Path) -> str:
    """Install a tree's streamlic, its compiled engine included, into a directory of its own."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--target", str(target), str(tree)], check=True)
    return str(target)
