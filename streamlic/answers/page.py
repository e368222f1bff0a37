"""The report as one HTML file, which asks nobody for anything.

Rules:
1. Every text of a vendor is escaped: by the template engine, everywhere.
2. Without JavaScript the page has all figures, pictures and rows; with it, tables sort and filter.
3. Rows beyond the first ones are folded, and not laid out. Beyond ``_MOST_ROWS`` they are left to
   the workbook.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import Any, Final

import pyarrow as pa

from streamlic._version import __version__
from streamlic.answers.charts import charts
from streamlic.answers.describe import (
    DEFINITIONS,
    HEADINGS,
    NO_NAME,
    about,
    amount,
    costs_text,
    headline,
    moment_text,
    title_of,
)
from streamlic.answers.figures import Report
from streamlic.answers.lake_sql import not_installed

_MOST_ROWS: Final = 10_000
_MOST_ROWS_OF: Final = {"over_assigned": 1000, "movements": 1000}
_LEFT_OUT: Final = ("integrated_account_id", "currency", "unlimited", "run_key")
"""Columns that the page has no room for, unless a table needs them."""
_KEPT: Final = {
    "costs": ("currency",), "not_read": ("integrated_account_id",), "trend": ("run_key",),
    "changes_by_night": ("run_key",),
}  # fmt: skip
_NO_BREAK: Final = "\u00a0"
_MONEY: Final = ("price", "cost", "unused_cost")


@dataclass(frozen=True)
class Cell:
    """A value as text, and what it is sorted by if that is a number."""

    text: str
    is_number: bool = False
    sort: float | None = None


@dataclass(frozen=True)
class Column:
    """A column's title."""

    title: str
    is_number: bool


@dataclass(frozen=True)
class Section:
    """A table with its heading; ``left_out`` rows are not on the page."""

    name: str
    heading: str
    note: str
    columns: list[Column]
    rows: list[list[Cell]]
    left_out: int


def page(report: Report, dest: str) -> str:
    """Return the page. Raises UsageError if a library is not installed."""
    try:
        import jinja2  # noqa: PLC0415  # an extra
    except ModuleNotFoundError as error:
        raise not_installed(error) from error
    text = files("streamlic.answers").joinpath("page.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    moments = {night.at: night.moment for night in report.nights}
    html = environment.from_string(text).render(
        about=about(report),
        headline=headline(report),
        charts=charts(report),
        sections=[
            _section(name, table, moments)
            for name, table in report.tables.items()
            if table.num_rows
        ],
        definitions=DEFINITIONS,
        top=report.asked.top,
        version=__version__,
        dest=dest,
    )
    return _with_policy(html)


def _with_policy(html: str) -> str:
    """Add a policy that lets the page load nothing, and run no script but its own."""
    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256((script[1] if script else "").encode()).digest())
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest.decode()}'"
    )
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    return html.replace('<meta charset="utf-8">', f'<meta charset="utf-8">\n{meta}', 1)


def _section(name: str, table: pa.Table, moments: Mapping[str, str]) -> Section:
    heading, note = HEADINGS[name]
    hidden = [one for one in _LEFT_OUT if one not in _KEPT.get(name, ())]
    if name in ("wasted", "over_assigned", "movements"):
        hidden.append("id")
    names = [one for one in table.column_names if one not in hidden]
    rows = table.slice(0, _MOST_ROWS_OF.get(name, _MOST_ROWS)).to_pylist()
    return Section(
        name=name,
        heading=heading,
        note=note,
        columns=[
            Column("unused cost" if one == "costs" else title_of(one), _is_number(table, one))
            for one in names
        ],
        rows=[[_cell(row, one, moments) for one in names] for row in rows],
        left_out=table.num_rows - len(rows),
    )


def _is_number(table: pa.Table, name: str) -> bool:
    kind = table.schema.field(name).type
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or name == "costs"


def _cell(row: dict[str, Any], name: str, moments: Mapping[str, str]) -> Cell:
    """Return a value; ``moments`` are the nights by their start."""
    value = row[name]
    if name == "costs":
        most = max((one["unused_cost"] or 0 for one in value or ()), default=None)
        sums = _together(costs_text(value)).replace(f"{_NO_BREAK}+{_NO_BREAK}", " + ")
        return Cell(sums, is_number=True, sort=most)
    if value is None:
        return Cell(NO_NAME if name == "name" else "")
    if name in _MONEY:
        return Cell(_together(amount(value, row.get("currency"))), is_number=True, sort=value)
    if isinstance(value, datetime):
        text = value.isoformat()
        return Cell(moments.get(text) or moment_text(text))
    if isinstance(value, int | float):
        return Cell(f"{value:,}", is_number=True, sort=value)
    return Cell(str(value))


def _together(text: str) -> str:
    """Keep a sum of money on one line."""
    return text.replace(" ", _NO_BREAK)
