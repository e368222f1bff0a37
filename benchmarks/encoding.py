"""Encoding alone: what each choice of the Parquet writer costs and gains, on decoded batches."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import figures
from benchmarks.bodies import make_body
from benchmarks.cases.encodings import CHOICES
from benchmarks.machine import headline
from benchmarks.measure import Case, Group
from benchmarks.plan import Plan

PART = "encoding"
BASE = "as streamlic writes"
KINDS = ("licenses", "licenses-plain", "distinct")


def groups(plan: Plan, directory: Path, _: ExitStack) -> list[Group]:
    """Return a comparison of all choices for each kind of body."""
    found = []
    for kind in KINDS:
        body = make_body(kind, plan.job_bytes, directory)
        given = {
            "envelope": str(body.envelope),
            "work": str(directory),
            "at_least_seconds": plan.at_least_seconds,
        }
        cases = [
            Case(name=name, do="encodings.choice", given={**given, "choice": name}, note=one.note)
            for name, one in CHOICES.items()
        ]
        found.append(
            Group(part=PART, name=kind, about=f"{body.bytes / 1e6:.0f} MB of JSON, decoded before",
                  cases=cases, base=BASE, rounds=plan.rounds)
        )  # fmt: skip
    return found


def markdown(results: dict[str, Any]) -> str:
    """Return a line for each choice: its CPU and its file, as shares of streamlic's own."""
    groups = [group for group in results["groups"] if group["part"] == PART]
    bases = [_named(group, BASE) for group in groups]
    heads = ["", *(f"{group['name']}: {what}" for group in groups for what in ("CPU", "size")), ""]
    lines = [
        f"Measured on {headline(results['facts'])}.",
        "",
        *map(_line, (heads, ["---"] * len(heads))),
    ]
    lines.append(
        _line([f"{BASE}, a GB of JSON", *(cell for base in bases for cell in _absolute(base)), ""])
    )
    for place, case in enumerate(groups[0]["cases"]):
        if case["name"] != BASE and case["rounds"]:
            cells = [
                cell
                for group, base in zip(groups, bases, strict=True)
                for cell in _relative(group["cases"][place], base)
            ]
            lines.append(_line([case["name"], *cells, case["note"]]))
    return "\n".join(lines)


def _named(group: dict[str, Any], name: str) -> dict[str, Any]:
    found = figures.case_named(group, name)
    if found is None:
        raise ValueError(f"{group['name']} has no results of {name!r}")
    return found


def _absolute(base: dict[str, Any]) -> tuple[str, str]:
    seconds = figures.cpu_seconds_a_gb(base)
    return f"{seconds.text()} s", f"{figures.file_mb_per_gb(base):.0f} MB"


def _relative(case: dict[str, Any], base: dict[str, Any]) -> tuple[str, str]:
    size = figures.file_mb_per_gb(case) / figures.file_mb_per_gb(base)
    return f"{figures.cpu_ratio(case, base).median:.2f}", f"{size:.2f}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
