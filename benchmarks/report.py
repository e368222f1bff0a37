"""Results as tables for a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks import figures
from benchmarks.machine import headline

Row = Callable[[dict[str, Any], dict[str, Any]], tuple[str, ...]]
_COLUMNS = ("case", "MB/s", "rows/s", "seconds", "CPU s", "CPU s/GB", "peak MiB", "times the base")
_ENCODING_COLUMNS = ("case", "CPU s a GB", "times the base's CPU", "MB a GB", "peak MiB")
_LEGEND = (
    "Medians (least to greatest); MB of JSON; ratios are formed within a round. The peak is the "
    "whole process's:\nPython, its imports and, in parsing, the body are included."
)


def tables(results: dict[str, Any]) -> str:
    """Return all groups as tables."""
    texts = [headline(results["facts"]), _LEGEND]
    shown: set[tuple[str, str]] = set()
    for group in results["groups"]:
        texts.append(f"\n{group['part']}: {group['name']} ({group['about']})")
        columns, row = _shown(group)
        texts.append(_aligned([columns, *(row(group, case) for case in group["cases"])]))
        notes = {(_versioned(case), case["note"]) for case in group["cases"] if case["note"]}
        texts += [f"  {name}: {note}" for name, note in sorted(notes - shown)]
        shown |= notes  # Each note once.
    return "\n".join(texts)


def _versioned(case: dict[str, Any]) -> str:
    """Return a case's name, with the engine that it reported, if any."""
    said = case["rounds"][0].get("engine", "") if case["rounds"] else ""
    return f"{case['name']} ({said})" if said else str(case["name"])


def _shown(group: dict[str, Any]) -> tuple[tuple[str, ...], Row]:
    return (_ENCODING_COLUMNS, _encoding_row) if group["part"] == "encoding" else (_COLUMNS, _row)


def _encoding_row(group: dict[str, Any], case: dict[str, Any]) -> tuple[str, ...]:
    name = case["name"]
    if not case["rounds"]:
        return (name, f"left out: {case['left_out']}")
    base = figures.case_named(group, group["base"])
    return (
        name + (" (base)" if name == group["base"] else ""),
        figures.cpu_seconds_a_gb(case).text(),
        figures.cpu_ratio(case, base).text() if base else "",
        f"{figures.file_mb_per_gb(case):.1f}",
        f"{figures.peak_mib(case):,.0f}",
    )


def _row(group: dict[str, Any], case: dict[str, Any]) -> tuple[str, ...]:
    name = case["name"]
    if not case["rounds"]:
        return (name, f"left out: {case['left_out']}")
    base = figures.case_named(group, group["base"])
    ratio = figures.ratio(case, base) if base else None
    return (
        figures.name(case) + (" (base)" if name == group["base"] else ""),
        figures.speed(case).text(1),
        f"{figures.rows_per_second(case).median:,.0f}",
        f"{figures.seconds(case).median:.4g}",
        f"{figures.cpu_seconds(case).median:.4g}",
        f"{figures.cpu_seconds_a_gb(case).median:.3g}",
        f"{figures.peak_mib(case):,.0f}",
        ratio.text() if ratio else "",
    )


def _aligned(rows: list[tuple[str, ...]]) -> str:
    whole = [row for row in rows if len(row) == len(rows[0])]
    widths = [max(map(len, column)) for column in zip(*whole, strict=True)]
    widths[0] = max(len(row[0]) for row in rows)
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        if len(row) == len(rows[0]):
            cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        else:
            cells += row[1:]
        lines.append("  " + "  ".join(cells))
    return "\n".join(lines)
