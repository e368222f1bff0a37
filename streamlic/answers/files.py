"""The report as files: CSV, JSON and a workbook.

Rules:
1. A text of a vendor never becomes a formula: in CSV it is given an apostrophe before it if it
   starts like one (OWASP, CSV injection); a workbook's cells are written as texts.
2. Numbers stay numbers, and moments moments.
"""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from streamlic.answers.describe import (
    DEFINITIONS,
    HEADINGS,
    about,
    costs_text,
    headline,
    title_of,
)
from streamlic.answers.figures import Report
from streamlic.answers.lake_sql import not_installed
from streamlic.errors import StoreError

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_MOST_ROWS = 1_048_575
_WIDEST = 60
_PRICED = ("price", "cost", "unused_cost")


def write_csv(report: Report, directory: str) -> list[Path]:
    """Write each table as a CSV file; return their paths. Raises StoreError if it cannot."""
    folder = Path(directory)
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in report.tables.items():
            path = folder / f"{name}.csv"
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(table.column_names)
                for row in table.to_pylist():
                    writer.writerow([_csv_value(row[column]) for column in table.column_names])
            paths.append(path)
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror}") from error
    return paths


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as JSON values."""
    asked = report.asked
    return {
        "as_of": vars(asked.night),
        "compare": vars(asked.before) if asked.before else None,
        "integration": asked.integration,
        "tenant": asked.tenant,
        "currency": asked.currency,
        "headline": headline(report),
        "coverage": asdict(report.coverage),
        "definitions": {word: meaning for word, meaning in DEFINITIONS},  # noqa: C416
        **{
            name: [_plain(row) for row in table.to_pylist()]
            for name, table in report.tables.items()
        },
    }


def write_json(report: Report, path: str) -> None:
    """Write the report as one JSON object. Raises StoreError if it cannot."""
    write_text(path, json.dumps(as_json(report), ensure_ascii=False) + "\n")


def write_text(path: str, text: str) -> None:
    """Write a text file. Raises StoreError if it cannot."""
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error


def write_sheet(report: Report, path: str) -> None:
    """Write a workbook with a sheet for each question. Raises StoreError if it cannot.

    In ``wasted`` the cost is a formula: change a price, and it follows.
    """
    try:
        import xlsxwriter  # noqa: PLC0415  # an extra
    except ModuleNotFoundError as error:
        raise not_installed(error) from error
    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False,
               "remove_timezone": True}  # fmt: skip
    try:
        with xlsxwriter.Workbook(path, options) as book:
            formats = {
                "title": book.add_format({"bold": True, "font_size": 14}),
                "head": book.add_format({"bold": True, "bottom": 1, "text_wrap": True}),
                "whole": book.add_format({"num_format": "#,##0"}),
                "money": book.add_format({"num_format": "#,##0.00"}),
                "moment": book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
            }
            _first_sheet(book.add_worksheet("Answer"), report, formats)
            for name, table in report.tables.items():
                heading, note = HEADINGS[name]
                sheet = book.add_worksheet(heading[:31].replace("/", " "))
                _table_sheet(sheet, name, _spread(table), (heading, note), formats)
    except (OSError, xlsxwriter.exceptions.FileCreateError) as error:
        raise StoreError(f"{path}: {error}") from error


def _first_sheet(sheet: Any, report: Report, formats: dict[str, Any]) -> None:
    sheet.set_column(0, 0, 24)
    sheet.set_column(1, 1, 100)
    sheet.write_string(0, 0, about(report), formats["title"])
    row = 2
    for sentence in headline(report):
        sheet.write_string(row, 0, sentence)
        row += 1
    for word, meaning in DEFINITIONS:
        row += 1
        sheet.write_string(row, 0, word, formats["head"])
        sheet.write_string(row, 1, meaning)


def _table_sheet(
    sheet: Any, name: str, table: pa.Table, heading: tuple[str, str], formats: dict[str, Any]
) -> None:
    columns = table.column_names
    rows = table.slice(0, _MOST_ROWS - 3).to_pylist()
    for place, column in enumerate(columns):
        widest = max((len(str(row[column] or "")) for row in rows[:1000]), default=0)
        sheet.set_column(place, place, min(max(len(title_of(column)), widest, 8) + 2, _WIDEST))
    sheet.write_string(0, 0, heading[0], formats["title"])
    sheet.write_string(1, 0, heading[1])
    for place, column in enumerate(columns):
        sheet.write_string(2, place, title_of(column), formats["head"])
    sheet.freeze_panes(3, 0)
    if rows:
        sheet.autofilter(2, 0, 2 + len(rows), len(columns) - 1)
    for number, row in enumerate(rows, start=3):
        for place, column in enumerate(columns):
            _write(sheet, (number, place), column, row, formats)
        if name == "wasted" and row["price"] is not None:
            unused, price = (
                chr(ord("A") + columns.index(one)) for one in ("unused_seats", "price")
            )
            formula = f"={unused}{number + 1}*{price}{number + 1}"
            place = columns.index("unused_cost")
            sheet.write_formula(number, place, formula, formats["money"], row["unused_cost"])


def _write(
    sheet: Any, cell: tuple[int, int], column: str, row: dict[str, Any], formats: dict[str, Any]
) -> None:
    value = row[column]
    if value is None:
        return
    if isinstance(value, datetime):
        sheet.write_datetime(*cell, value.astimezone(UTC).replace(tzinfo=None), formats["moment"])
    elif isinstance(value, bool | str):
        sheet.write_string(*cell, str(value))
    else:
        is_money = column in _PRICED or isinstance(value, float)
        sheet.write_number(*cell, value, formats["money" if is_money else "whole"])


def _spread(table: pa.Table) -> pa.Table:
    """Return a table with the costs as one text."""
    if "costs" not in table.column_names:
        return table
    texts = [costs_text(costs) for costs in table["costs"].to_pylist()]
    return table.drop_columns(["costs"]).append_column("unused_cost", pa.array(texts, pa.string()))


def _csv_value(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    if isinstance(value, list):
        return costs_text(value)
    return value.isoformat() if isinstance(value, datetime) else value


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in row.items()
    }
