"""A check of what a run needs: what was found, and what to do. Needs nothing that may be broken."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, field
from importlib import import_module, metadata
from typing import Any, Literal

from streamlic._version import __version__

LIBRARIES = ("pyarrow", "ijson", "aiohttp")
INSTALL = "pip install --force-reinstall --no-cache-dir streamlic"


@dataclass(frozen=True, kw_only=True)
class Check:
    """What was found. ``exit_code`` is what a run would end with for it, 0 if it would not."""

    name: str
    state: Literal["ok", "warning", "failed"]
    found: str
    advice: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    exit_code: int = 0


def exit_code_of(checks: list[Check]) -> int:
    """Return the code of the failed checks: 0 for none, 1 where they differ."""
    codes = {check.exit_code for check in checks if check.state == "failed"}
    return 0 if not codes else codes.pop() if len(codes) == 1 else 1


def report_of(checks: list[Check]) -> dict[str, Any]:
    """Return all checks as JSON has them."""
    code = exit_code_of(checks)
    return {"ok": code == 0, "exit_code": code, "checks": [asdict(check) for check in checks]}


def check_versions() -> Check:
    """Look whether what streamlic is made of can be loaded, and which versions it is."""
    versions = {"streamlic": __version__, "python": platform.python_version()}
    try:
        for name in LIBRARIES:
            import_module(name)
            versions[name] = metadata.version(name)
    except (ImportError, metadata.PackageNotFoundError) as error:
        return Check(name="versions", state="failed", found=f"{name} cannot be loaded: {error}",
                     advice=f"install it again: {INSTALL}", exit_code=1)  # fmt: skip
    found = ", ".join(f"{name} {version}" for name, version in versions.items())
    return Check(name="versions", state="ok", found=found, facts=versions)
