"""The report as a page, a workbook, CSV and JSON."""

from __future__ import annotations

import csv
import json
import re
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pytest

import streamlic
from streamlic.answers.figures import Report
from streamlic.answers.files import write_csv, write_sheet
from streamlic.answers.page import page
from tests.answers.conftest import Answers
from tests.support.cli import run_cli

EVIL = ['<script>alert("x")</script>', "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "a & b"]


@pytest.fixture(scope="session")
def report(answers: Answers) -> Report:
    return streamlic.report(answers.dest, top=5)


@pytest.fixture(scope="session")
def evil(report: Report) -> Report:
    """A report with a vendor's names that try to be something else."""
    rows = report.wasted.slice(0, len(EVIL)).to_pylist()
    for row, name in zip(rows, EVIL, strict=False):
        row["name"] = name
    wasted = pa.Table.from_pylist(rows, report.wasted.schema)
    return Report(**{**vars(report), "wasted": wasted})


class Page(HTMLParser):
    """What a page asks for, and its texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "srcset", "href")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_asks_nobody_for_anything(report: Report) -> None:
    html = page(report, "lake")
    found = Page(html)
    assert all(link.startswith(("data:image/svg+xml;base64,", "#")) for link in found.links)
    assert "url(" not in html
    assert "default-src 'none'" in html


def test_every_text_of_a_vendor_is_escaped(evil: Report) -> None:
    found = Page(page(evil, "<b>lake</b>"))
    assert EVIL[0] in found.texts
    assert found.tags.count("script") == 1
    assert "b" not in found.tags


def test_the_page_has_pictures_in_words_and_every_table(report: Report) -> None:
    html = page(report, "lake")
    assert re.findall(r'alt="(Bars|A line) ', html) == ["Bars", "A line"]
    for name, table in report.tables.items():
        assert (f'<section id="{name}"' in html) is bool(table.num_rows)


def test_no_text_becomes_a_formula_in_csv(evil: Report, tmp_path: Path) -> None:
    write_csv(evil, str(tmp_path))
    with (tmp_path / "wasted.csv").open(newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    assert names == [f"'{one}" if one[0] in "=+-@\t" else one for one in EVIL[: len(names)]]


def test_a_workbook_has_numbers_and_one_formula_a_price(evil: Report, tmp_path: Path) -> None:
    path = tmp_path / "seats.xlsx"
    write_sheet(evil, str(path))
    with zipfile.ZipFile(path) as book:
        texts = "".join(
            book.read(name).decode() for name in book.namelist() if "worksheets/sheet" in name
        )
    formulas = re.findall(r"<f>(.*?)</f>", texts)
    priced = [row for row in evil.wasted.to_pylist() if row["price"] is not None]
    assert len(formulas) == len(priced)
    assert all(re.fullmatch(r"[A-Z][0-9]+\*[A-Z][0-9]+", one) for one in formulas)


async def test_the_command_writes_what_was_asked_for(answers: Answers, tmp_path: Path) -> None:
    names = {"html": "a.html", "xlsx": "a.xlsx", "csv": "csv", "json": "a.json"}
    given = [word for kind, name in names.items() for word in (f"--{kind}", str(tmp_path / name))]
    ended = await run_cli("report", str(answers.dest), *given)
    assert ended.code == 0, ended.err
    assert "paid seats" in ended.out
    facts = json.loads((tmp_path / "a.json").read_text())
    assert facts["as_of"]["key"] == "night-4"
    assert facts["headline"][0] in ended.out.replace("\n  ", " ")
    assert {one.name for one in tmp_path.iterdir()} == {"a.html", "a.xlsx", "csv", "a.json"}
    piped = await run_cli("report", str(answers.dest), "--json", "-")
    assert json.loads(piped.out) == facts
