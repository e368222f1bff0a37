"""``streamlic sql``: a lake's tables and views, for reading only."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from streamlic.tables.iceberg.catalog import open_catalog
from tests.answers.conftest import NIGHTS, Answers
from tests.support.cli import run_cli
from tests.tables.iceberg_lake import use_catalog


async def ask(answers: Answers, query: str) -> list[dict[str, object]]:
    ended = await run_cli("sql", str(answers.dest), query, "--json")
    assert ended.code == 0, ended.err
    return [json.loads(line) for line in ended.out.splitlines()]


async def test_the_newest_night_has_the_licenses_of_all_accounts(answers: Answers) -> None:
    [row] = await ask(
        answers, "select count(*) as n, sum(unused_seats) as unused from licenses_now"
    )
    ones = answers.nights[-1]
    assert row == {"n": len(ones), "unused": sum(one.unused or 0 for one in ones)}


async def test_each_night_has_its_own(answers: Answers) -> None:
    found = await ask(
        answers,
        "select count(*) as n from night_licenses group by night, night_at order by night_at",
    )
    assert [row["n"] for row in found] == [len(answers.nights[night]) for night in range(NIGHTS)]


async def test_seat_changes_are_those_between_two_reads(answers: Answers) -> None:
    wanted: Counter[str] = Counter()
    for before, after in zip(answers.nights, answers.nights[1:], strict=False):
        was, now = {one.key: one for one in before}, {one.key: one for one in after}
        there = {one.account for one in after}
        known = {one.account for one in before}
        for key in was.keys() | now.keys():
            if key not in was:
                wanted["new"] += key[0] in known
            elif key not in now:
                wanted["gone"] += key[0] in there
            elif (was[key].seats, was[key].assigned) != (now[key].seats, now[key].assigned):
                wanted["moved"] += 1
    found = await ask(answers, "select change, count(*) as n from seat_changes group by change")
    assert {row["change"]: row["n"] for row in found} == wanted


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("drop view licenses", "expected one query"),
        ("select 1; select 2", "expected one query"),
        ("select nope from licenses", 'column "nope" not found'),
        ("copy licenses to '/tmp/x.csv'", "expected one query"),
        ("attach '/tmp/x.db'", "expected one query"),
    ],
)
async def test_only_queries_are_answered(answers: Answers, query: str, says: str) -> None:
    ended = await run_cli("sql", str(answers.dest), query)
    assert (ended.code, ended.out) == (2, "")
    assert says in ended.err


@pytest.mark.parametrize("catalog", ["local", "local.finance"])
async def test_the_views_name_the_tables_that_are_in_the_catalog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, catalog: str
) -> None:
    use_catalog(tmp_path, monkeypatch.setenv)
    body, lake = tmp_path / "body.json", str(tmp_path / "lake")
    body.write_text('{"result": [{"id": "4711"}]}')
    given = ("--format", "iceberg", "--catalog", catalog, "--quiet")
    assert (await run_cli("convert", str(body), lake, *given)).code == 0
    views = (await run_cli("sql", lake, "--views")).out
    opened = open_catalog("local").catalog
    [namespace] = opened.list_namespaces()
    for table in opened.list_tables(namespace):
        assert f"as from {'.'.join(['local', *table])};" in views
