"""The report in a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from streamlic.answers.describe import HEADINGS, NO_NAME, about, costs_text, headline, title_of
from streamlic.answers.figures import Report
from streamlic.formatting import counted
from streamlic.reports.table import laid_out

_WIDTH = 80
_SHOWN = {
    "totals": ("kind", "licenses", "with_seats", "seats", "assigned_seats", "unused_seats",
               "over_assigned_seats"),
    "vendors": ("integration", "seats", "unused_seats", "unused_cost"),
    "products": ("name", "integration", "seats", "unused_seats", "unused_cost"),
    "customers": ("tenant_id", "seats", "unused_seats", "unused_cost"),
    "wasted": ("name", "tenant_id", "seats", "assigned_seats", "unused_seats", "unused_cost"),
    "over_assigned": ("name", "tenant_id", "seats", "assigned_seats", "over_assigned_seats"),
    "changes_by_vendor": ("integration", "licenses_new", "licenses_gone", "seats_bought",
                          "seats_assigned", "seats_freed"),
    "movements": ("name", "tenant_id", "change", "more_seats", "more_assigned"),
}  # fmt: skip
"""The columns of each table that a terminal has room for."""


def report_text(report: Report) -> str:
    """Return the headline, and the first rows of each table."""
    lines = [*_wrapped(about(report)), ""]
    for sentence in headline(report):
        lines += _wrapped(sentence)
    for name, columns in _SHOWN.items():
        table = report.tables[name]
        if not table.num_rows:
            continue
        rows = [_row(row) for row in table.slice(0, report.asked.top).to_pylist()]
        left = table.num_rows - len(rows)
        more = f", {left:,} more in --html and --xlsx" if left else ""
        lines += ["", f"{HEADINGS[name][0]}{more}"]
        titled = [{title_of(key): row[key] for key in columns} for row in rows]
        lines += laid_out(titled, [title_of(one) for one in columns], _WIDTH, is_grouped=True).lines
    if report.not_read.num_rows:
        were = "was" if report.not_read.num_rows == 1 else "were"
        what = counted(report.not_read.num_rows, "account")
        lines += ["", f"{what} {were} not read: see --html"]
    return "\n".join(lines)


def _row(row: dict[str, Any]) -> dict[str, Any]:
    if "name" in row:
        row["name"] = row["name"] or NO_NAME
    if "costs" in row:
        row["unused_cost"] = costs_text(row["costs"])
    elif "currency" in row:
        row["unused_cost"] = costs_text([row]) if row["unused_cost"] is not None else None
    return {name: "" if value is None else value for name, value in row.items()}


def _wrapped(text: str) -> Iterator[str]:
    yield from textwrap.wrap(text, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)
