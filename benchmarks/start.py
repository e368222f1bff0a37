"""What a process costs before it has work: whole processes, from the shell's point of view."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from benchmarks.emulated import bytes_of, served
from benchmarks.measure import Case, Group
from benchmarks.plan import Plan

RECORDS = 20
_ACCOUNT = "00000001-0000-4000-8000-000000000000"


def groups(plan: Plan, directory: Path, stack: ExitStack) -> list[Group]:
    """Return the export of one small account, ``--help``, and what their libraries cost."""
    server = stack.enter_context(served({_ACCOUNT: RECORDS}))
    given = {"url": server.url, "account": _ACCOUNT, "work": str(directory),
             "rows": RECORDS, "bytes": bytes_of(RECORDS)}  # fmt: skip
    imports = {
        "Python": ("pass", ""),
        "import aiohttp": ("import aiohttp", "with the trust store, which it reads at its import"),
        "import pyarrow.parquet": ("import pyarrow.parquet", "with NumPy, where it is installed"),
    }
    cases = [
        Case(name="export of one small account", do="start.export", given=given),
        Case(name="--help", do="start.helped", given=given),
        *(Case(name=name, do="start.imported", given={**given, "code": code}, note=note)
          for name, (code, note) in imports.items()),
    ]  # fmt: skip
    return [Group(part="start", name="start", about="whole processes; CPU seconds count",
                  cases=cases, base="export of one small account", rounds=plan.rounds)]  # fmt: skip
