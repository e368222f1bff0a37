"""The whole job over loopback HTTP, and its limits: network and Parquet; the emulator alone."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from benchmarks.emulated import Emulated, emulator
from benchmarks.measure import Case, Group
from benchmarks.plan import Plan

PAGE_RECORDS = 5000
_FORMS = (("one body", None), (f"pages of {PAGE_RECORDS:,}", PAGE_RECORDS))


def groups(plan: Plan, directory: Path, stack: ExitStack) -> list[Group]:
    """Return the export, from one body and from pages, plain and gzip."""
    size = plan.job_bytes
    found = []
    for coding in ("plain", "gzip"):
        server = stack.enter_context(emulator([size], is_gzip=coding == "gzip"))
        for name, limit in _FORMS:
            given = server.asked(size, limit=limit, work=str(directory))
            longer = {**given, "at_least_seconds": plan.at_least_seconds}
            cases = [
                *(
                    Case(name=f"export, {engine}", do="jobs.export", is_fresh=True,
                         given={**given, "engine": engine})
                    for engine in ("reference", "fast")
                ),
                Case(name="drain alone", do="jobs.drain", given=longer,
                     note="aiohttp reads the same bodies and throws them away"),
                Case(name="encode alone", do="jobs.encode", given=longer,
                     note="the same batches, decoded before, written as Parquet"),
            ]  # fmt: skip
            found.append(
                Group(part="job", name=f"{name}, {coding}", about=_about(server, size),
                      cases=cases, base="export, reference", rounds=plan.few_rounds)
            )  # fmt: skip
    return found


def emulator_groups(plan: Plan, directory: Path, stack: ExitStack) -> list[Group]:
    """Return the speed of the emulator, so that it is not mistaken for streamlic's."""
    size = plan.job_bytes * (1 if plan.is_quick else 5)
    cases = []
    for coding in ("plain", "gzip"):
        server = stack.enter_context(emulator([size], is_gzip=coding == "gzip"))
        for name, limit in _FORMS:
            given = server.asked(size, limit=limit, work=str(directory))
            raw = Case(name=f"{name}, {coding}, bare socket", do="jobs.drain_raw", given=given)
            read = Case(name=f"{name}, {coding}, aiohttp", do="jobs.drain", given=given)
            cases += [read] if limit else [raw, read]
    about = _about(server, size)
    return [Group(part="emulator", name="emulator", about=about, cases=cases,
                  base=cases[0].name, rounds=plan.few_rounds)]  # fmt: skip


def _about(server: Emulated, size: int) -> str:
    return f"{server.asked(size)['bytes'] / 1e6:.0f} MB of JSON over loopback HTTP"
