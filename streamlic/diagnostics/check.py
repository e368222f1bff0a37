"""The result of a check: what was found, and advice. Imports nothing that may be broken."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, field
from importlib import import_module, metadata
from typing import Any, Literal

from streamlic._version import __version__
from streamlic.errors import StreamlicError
from streamlic.formatting import option_of

LIBRARIES = ("pyarrow", "ijson", "aiohttp")
INSTALL = "pip install --force-reinstall --no-cache-dir . in the directory of streamlic's source"


@dataclass(frozen=True, kw_only=True)
class Check:
    """The result of a check. ``exit_code`` is that of a run which fails for it, otherwise 0."""

    name: str
    state: Literal["ok", "warning", "failed"]
    found: str
    advice: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    exit_code: int = 0


def failed(name: str, error: StreamlicError, advice: str | None, facts: dict[str, Any]) -> Check:
    """Return a check that failed. The error's own advice comes before the one given."""
    found = error.described(option_of)
    advice = error.spelled_advice(option_of) or advice
    return Check(name=name, state="failed", found=found, advice=advice, facts=facts,
                 exit_code=error.exit_code)  # fmt: skip


def exit_code_of(checks: list[Check]) -> int:
    """Return the exit code of the failed checks: 0 for none, 1 if they differ."""
    codes = {check.exit_code for check in checks if check.state == "failed"}
    return 0 if not codes else codes.pop() if len(codes) == 1 else 1


def report_of(checks: list[Check]) -> dict[str, Any]:
    """Return all checks in the form of the JSON report."""
    code = exit_code_of(checks)
    return {"ok": code == 0, "exit_code": code, "checks": [asdict(check) for check in checks]}


def check_versions() -> Check:
    """Check that the libraries can be loaded, and find their versions."""
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
