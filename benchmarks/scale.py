"""How time and memory grow with the body, and what many small pages cost."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.emulated import emulator
from benchmarks.measure import Case, Group
from benchmarks.plan import Plan

_REPEATED_BYTES = 40_000_000
_CONTRAST_BYTES = 150_000_000
_PAGES = (("one body", None), ("pages of 10,000", 10_000), ("pages of 1,000", 1000),
          ("pages of 100", 100))  # fmt: skip
BY_SIZE: dict[str, tuple[str, dict[str, Any]]] = {
    "streamlic": ("jobs.export", {"engine": "auto"}),
    "response.json() + pyarrow": ("peers_whole.naive", {}),
    "ijson + pyarrow": ("peers_parts.textbook", {}),
}


def groups(plan: Plan, directory: Path, stack: ExitStack) -> list[Group]:
    """Return one line of sizes for streamlic and for two by hand, and one of page sizes."""
    sizes = plan.scale_bytes
    server = stack.enter_context(emulator([*sizes, plan.pages_bytes]))
    found = []
    for name, (do, more) in BY_SIZE.items():
        # By hand only up to a size that shows the trend: its memory grows with the body.
        bound = _CONTRAST_BYTES if name != "streamlic" else sizes[-1]
        cases = [
            _case(size_name(size), do, server.asked(size, work=str(directory), **more), size)
            for size in sizes
            if size <= bound
        ]
        found.append(
            Group(part="scale", name=name, about="one body, over HTTP to Parquet, by its size",
                  cases=cases, base=cases[0].name, rounds=plan.few_rounds)
        )  # fmt: skip
    size = plan.pages_bytes
    cases = [
        _case(name, "jobs.export",
              server.asked(size, limit=limit, work=str(directory), engine="auto"), size)
        for name, limit in _PAGES
    ]  # fmt: skip
    about = f"streamlic, {size / 1e6:.0f} MB, by the size of a page"
    return [*found, Group(part="scale", name="pages", about=about, cases=cases,
                          base=cases[0].name, rounds=plan.few_rounds)]  # fmt: skip


def size_name(size_bytes: int) -> str:
    """Name a size as people do."""
    return f"{size_bytes / 1e9:g} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:g} MB"


def _case(name: str, do: str, given: dict[str, Any], size: int) -> Case:
    most = 1 if size > _REPEATED_BYTES else 99
    return Case(name=name, do=do, given=given, is_fresh=True, most_rounds=most)
