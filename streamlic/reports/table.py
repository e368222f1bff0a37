"""Rows as a table of text that fits a terminal.

Rules:
1. No line is wider than ``width``, in the columns of a terminal: a wide character takes two.
2. Control characters never reach the terminal, and there are no colours.
3. Numbers and truth values are never cut, and times are to the second. Texts are cut, with an
   ellipsis: the widest column first, down to ``_LEAST_TEXT`` or the longest word of its name.
4. Columns that do not fit even so are left out, or shown as records: one field a line.
5. The first ``_MEASURED`` rows decide the widths. No more rows are held.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, count, islice
from typing import Any

from rich.cells import cell_len, set_cell_size

from streamlic.formatting import visible

_MEASURED = 1_000
_LEAST_TEXT = 8
_GAP = "  "
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"

Row = Mapping[str, Any]
Cell = tuple[str, bool]
"""A value as text, and whether it may be cut."""


@dataclass(frozen=True)
class Laid:
    """The lines of a table, and the columns that it has no room for."""

    lines: Iterator[str]
    left_out: Sequence[str]


@dataclass
class _Column:
    """A column and its width, in columns of the terminal."""

    name: str
    title: str
    width: int
    least_text: int
    is_text: bool

    @property
    def least(self) -> int:
        """The width below which it is not narrowed."""
        return min(self.width, self.least_text) if self.is_text else self.width


def laid_out(
    rows: Iterable[Row],
    names: Sequence[str],
    width: int,
    *,
    keeps_all: bool = False,
    is_grouped: bool = False,
) -> Laid:
    """Lay rows out as a table of these columns.

    With ``keeps_all`` every column is shown, in the worst case as records. With ``is_grouped``
    whole numbers have commas between the thousands.
    """

    def cells_of(row: Row) -> list[Cell]:
        return [cell_of(row[name], width, is_grouped=is_grouped) for name in names]

    rest = iter(rows)
    measured = [cells_of(row) for row in islice(rest, _MEASURED)]
    cells = chain(measured, map(cells_of, rest))
    columns = [_column(name, place, measured) for place, name in enumerate(names)]
    shown = _fitted(columns, width)
    if len(shown) < len(columns) and keeps_all:
        return Laid(_records(cells, columns, width), [])
    return Laid(_table(cells, shown), names[len(shown) :])


def cell_of(value: Any, width: int, *, is_grouped: bool = False) -> Cell:
    """Return a value as text of at most ``width`` terminal columns, and whether it may be cut."""
    match value:
        case None:
            return "null", True
        case bool():
            return str(value).lower(), False
        case int() if is_grouped:
            return f"{value:,}", False
        case int() | float():
            return str(value), False
        case datetime():
            return value.isoformat(" ", "seconds").replace("+00:00", "Z"), False
        case str():
            text = value
        case _:
            text = json.dumps(value, ensure_ascii=False, default=str)
    return _cut(visible(text[: width + 1]), width), True


def _column(name: str, place: int, measured: Sequence[Sequence[Cell]]) -> _Column:
    title = visible(name)
    pieces = max(map(cell_len, _pieces(title)), default=1)
    widest = max((cell_len(row[place][0]) for row in measured), default=0)
    is_text = all(row[place][1] for row in measured)
    return _Column(name, title, max(widest, pieces, 1), max(pieces, _LEAST_TEXT), is_text)


def _fitted(columns: Sequence[_Column], width: int) -> list[_Column]:
    """Return the first columns that fit, the widest texts narrowed."""
    shown = list(columns)
    while len(shown) > 1 and sum(one.least for one in shown) + _gaps(shown) > width:
        shown.pop()
    while (over := sum(one.width for one in shown) + _gaps(shown) - width) > 0:
        texts = sorted((one.width for one in shown if one.width > one.least), reverse=True)
        if not texts:
            break
        # Narrow the widest to the next one, all of the same width alike.
        widest = [one for one in shown if one.width == texts[0] and one.width > one.least]
        for one in widest[:over]:
            one.width -= 1
    return shown


def _gaps(columns: Sequence[_Column]) -> int:
    return len(_GAP) * (len(columns) - 1)


def _table(cells: Iterable[Sequence[Cell]], columns: Sequence[_Column]) -> Iterator[str]:
    titles = [_folded(one.title, one.width) for one in columns]
    deepest = max(map(len, titles), default=0)
    padded = [[""] * (deepest - len(one)) + one for one in titles]
    for line in zip(*padded, strict=True):
        yield _line([(title, True) for title in line], columns)
    yield _GAP.join("-" * one.width for one in columns)
    for row in cells:
        yield _line(row, columns)


def _line(cells: Sequence[Cell], columns: Sequence[_Column]) -> str:
    """Return a line of the first cells: a table may have fewer columns than its rows."""
    padded = (_padded(cell, one) for cell, one in zip(cells, columns, strict=False))
    return _GAP.join(padded).rstrip()


def _padded(cell: Cell, column: _Column) -> str:
    text, may_be_cut = cell
    if may_be_cut and column.is_text:
        text = _cut(text, column.width)
    elif cell_len(text) > column.width:  # Of a row after those that were measured.
        return text
    if column.is_text:
        return set_cell_size(text, column.width)
    return " " * (column.width - cell_len(text)) + text


def _records(
    cells: Iterable[Sequence[Cell]], columns: Sequence[_Column], width: int
) -> Iterator[str]:
    widest = min(max(cell_len(one.title) for one in columns), max(width // 2, 1))
    for number, row in zip(count(1), cells, strict=False):
        yield f"row {number:,}"
        for (text, _), one in zip(row, columns, strict=True):
            name = set_cell_size(_cut(one.title, widest), widest)
            yield _cut(f"{_GAP}{name}{_GAP}{text}", width).rstrip()


def _pieces(title: str) -> list[str]:
    """Break a name after its underscores; those at its start are part of its first word."""
    return re.findall(r"^_*[^_]*_*|[^_]+_*", title)


def _folded(title: str, width: int) -> list[str]:
    """Return a column's name on several lines, if it is wider than the column."""
    lines: list[str] = []
    for piece in _pieces(title):
        if lines and cell_len(lines[-1] + piece) <= width:
            lines[-1] += piece
        else:
            lines.append(_cut(piece, width))
    return lines


def _cut(text: str, width: int) -> str:
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(width - 1, 0)).rstrip() + ELLIPSIS
