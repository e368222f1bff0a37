"""A table of rows fits the terminal whatever its width, and obeys nothing that the data holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.cells import cell_len

from streamlic.formatting import clipped, visible
from streamlic.reports import table
from streamlic.reports.json_rows import json_line
from streamlic.reports.table import ELLIPSIS, laid_out

ROW: dict[str, Any] = {
    "integrated_account_id": "62f44730-dd91-461e-bd6a-aedd9e0ad79d",
    "name": "漢字" * 30,
    "available_quantity": 1_234_567,
    "unit_amount": 12.5,
    "is_paid": True,
    "created_at": datetime(2026, 11, 26, 1, 0, 0, 999_999, tzinfo=UTC),
    "products": [{"id": "p", "name": "x" * 500}],
    "description": None,
}
WIDTHS = [40, 60, 79, 80, 81, 120, 300]


def lines_of(rows: list[dict[str, Any]], width: int, **given: Any) -> list[str]:
    return list(laid_out(rows, list(rows[0]), width, **given).lines)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("keeps_all", [False, True])
def test_no_line_is_wider_than_the_terminal(width: int, *, keeps_all: bool) -> None:
    rows = [ROW, {**ROW, "name": "x" * 400, "description": "é" * 9}]
    for line in lines_of(rows, width, keeps_all=keeps_all):
        assert cell_len(line) <= width, line


def test_a_wide_character_takes_two_columns() -> None:
    rows = [{"name": "漢字", "seats": 1}, {"name": "four", "seats": 22}]
    assert lines_of(rows, 80) == ["name  seats", "----  -----", "漢字      1", "four     22"]


def test_texts_are_cut_with_an_ellipsis_and_numbers_never() -> None:
    lines = lines_of([ROW], 60)
    assert "1234567" in lines[-1]
    assert "2026" not in lines[-1], "there is no room for all of it"
    assert ELLIPSIS in lines[-1]
    assert "2026-11-26 01:00:00Z" in lines_of([ROW], 120)[-1]


def test_columns_without_room_are_named_or_become_records() -> None:
    names = list(ROW)
    laid = laid_out([ROW], names, 60)
    shown = len(names) - len(laid.left_out)
    assert 0 < shown < len(names)
    assert laid.left_out == names[shown:]
    lines = lines_of([ROW, ROW], 60, keeps_all=True)
    assert [line for line in lines if not line.startswith(" ")] == ["row 1", "row 2"]
    assert "  available_quantity     1234567" in lines
    assert sum(line.startswith("  description ") for line in lines) == 2


def test_a_name_is_folded_at_its_underscores() -> None:
    row = {"available_quantity": 5, "_exported_at": 1, "id": "x"}
    assert lines_of([row], 80)[:3] == [
        "available_  _exported_",
        "  quantity          at  id",
        "----------  ----------  --",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[31mred",
        "a\nb",
        "\x9b31m",
        "\u202egnp.exe",
        "\x07",
        "\ud800",
        "\r",
        "\u2028",
        "a\u200bb",
    ],
)
def test_control_characters_do_not_reach_the_terminal(text: str) -> None:
    rows = [{text: text, "list": [text], "object": {text: text}}]
    for keeps_all in (False, True):
        for line in lines_of(rows, 80, keeps_all=keeps_all):
            assert line.isprintable()
    for shown in (visible(text), clipped(text, 80), json_line(rows[0], ["nothing"])):
        assert shown.isprintable()
        assert "31m" not in text or "31m" in shown, "it is shown, as an escape"


def test_no_more_rows_are_held_than_decide_the_widths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_MEASURED", 2)
    taken = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal taken
        for number in (1, 2, 3_333_333, 4):
            taken += 1
            yield {"seats": number, "name": "n" * number if number < 5 else None}

    laid = laid_out(rows(), ["seats", "name"], 80)
    assert taken == 2
    assert list(laid.lines)[2:] == ["    1  n", "    2  nn", "3333333  null", "    4  nnnn"]


# JSON


def test_a_row_is_exact_as_json() -> None:
    digits = "1.10000000000000000001e400"
    row = {
        "integrated_account_id": None, "unit_amount": 0.1, "seats": 2**62, "is_paid": False,
        "created_at": datetime(2026, 11, 26, 1, 2, 3, 4, tzinfo=UTC),
        "products": [{"id": "p", "name": None}, None], "name": "漢 \x1b \x7f",
        "remote_data": f'{{"a": {digits},\n "b": "漢\x7f😀"}}', "_rescued": "{broken",
    }  # fmt: skip
    line = json_line(row, ["remote_data", "_rescued"])
    assert line.isascii()
    assert line.isprintable()
    assert digits in line, "all digits"
    found = json.loads(line)
    assert found.pop("remote_data") == {"a": float("inf"), "b": "漢\x7f😀"}
    assert found == {
        **{name: value for name, value in row.items() if name not in ("remote_data", "created_at")},
        "created_at": "2026-11-26T01:02:03.000004Z",
    }
