"""The same results as tables for a terminal and as markdown."""

from __future__ import annotations

from typing import Any

from benchmarks import figures
from benchmarks.machine import headline

_COLUMNS = ("case", "MB/s", "rows/s", "CPU s", "peak MiB", "times the base")


def tables(results: dict[str, Any]) -> str:
    """Return all groups as tables for a terminal."""
    texts = [headline(results["facts"])]
    told: set[tuple[str, str]] = set()
    for group in results["groups"]:
        texts.append(f"\n{group['part']}: {group['name']} ({group['about']})")
        texts.append(_aligned([_COLUMNS, *(_row(group, case) for case in group["cases"])]))
        notes = {(case["name"], case["note"]) for case in group["cases"] if case["note"]}
        texts += [f"  {name}: {note}" for name, note in sorted(notes - told)]
        told |= notes  # Once is enough.
    return "\n".join(texts)


def _row(group: dict[str, Any], case: dict[str, Any]) -> tuple[str, ...]:
    name = case["name"]
    if not case["rounds"]:
        return (name, f"left out: {case['left_out']}")
    base = figures.case_named(group, group["base"])
    ratio = figures.ratio(case, base) if base else None
    return (
        name + (" (base)" if name == group["base"] else ""),
        figures.speed(case).text(1),
        f"{figures.rows_per_second(case).median:,.0f}",
        f"{figures.cpu_seconds(case).median:.4f}",
        f"{figures.peak_mib(case):,.0f}",
        ratio.text() if ratio else "",
    )


def _aligned(rows: list[tuple[str, ...]]) -> str:
    widths = [
        max((len(row[i]) for row in rows if len(row) == len(_COLUMNS)), default=0)
        for i in range(len(_COLUMNS))
    ]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        if len(row) == len(_COLUMNS):
            cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        else:
            cells += row[1:]
        lines.append("  " + "  ".join(cells))
    return "\n".join(lines)


def markdown(results: dict[str, Any]) -> str:
    """Return the ratios with their spread as markdown tables, for a README."""
    texts = [f"Measured on {headline(results['facts'])}."]
    for group in results["groups"]:
        base = figures.case_named(group, group["base"])
        texts.append(f"\n**{group['name']}** ({group['about']})\n")
        texts.append(f"| | times {group['base']} | MB/s | peak MiB | |")
        texts.append("| --- | --- | --- | --- | --- |")
        texts += [_markdown_row(case, base) for case in group["cases"]]
    return "\n".join(texts)


def _markdown_row(case: dict[str, Any], base: dict[str, Any] | None) -> str:
    if not case["rounds"]:
        return f"| {case['name']} | | | | left out: {case['left_out']} |"
    ratio = figures.ratio(case, base) if base else None
    cells = [
        case["name"],
        ratio.text() if ratio else "",
        figures.speed(case).text(1),
        f"{figures.peak_mib(case):,.0f}",
        case["note"],
    ]
    return f"| {' | '.join(cells)} |"
