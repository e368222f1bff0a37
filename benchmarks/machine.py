"""The origin of the figures: machine, versions, commit."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT
from streamlic.system.machine import processors

_PACKAGES = ("streamlic", "aiohttp", "ijson", "pyarrow", "duckdb", "msgspec", "polars", "dlt")


def facts() -> dict[str, Any]:
    """Return the facts of this run apart from its figures."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpu": _field("/proc/cpuinfo", "model name") or platform.processor(),
            "cores": processors()[0],
            "memory_kib": int((_field("/proc/meminfo", "MemTotal") or "0").split()[0]),
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        },
        "versions": {
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            **{name: _version(name) for name in _PACKAGES},
            "compiler": _output("g++", "-dumpfullversion") or None,
        },
        "git": {
            "commit": _output("git", "-C", str(ROOT), "rev-parse", "HEAD") or None,
            "is_changed": bool(
                _output("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no")
            ),
        },
    }


def headline(facts: dict[str, Any]) -> str:
    """Return the origin of the figures in one line."""
    machine, versions, git = facts["machine"], facts["versions"], facts["git"]
    commit = (git["commit"] or "no commit")[:12] + (" with changes" if git["is_changed"] else "")
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_kib'] / 2**20:.0f} GiB, "
        f"{versions['python']}, pyarrow {versions['pyarrow']}, streamlic {commit}, {facts['at']}"
    )


def _field(path: str, name: str) -> str | None:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()
