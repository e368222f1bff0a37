"""The report's figures are those that the emulator's own function adds up to."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import streamlic
from streamlic.answers.definitions import VIEWS
from streamlic.answers.figures import Report
from streamlic.answers.report import rates_of
from streamlic.errors import UsageError
from tests.answers.conftest import NIGHTS, Answers, Seats
from tests.support.batches import land
from tests.support.cli import run_cli


@pytest.fixture(scope="session")
def report(answers: Answers) -> Report:
    return streamlic.report(answers.dest, compare="night-1", top=1000)


def rows(table: pa.Table, *keys: str) -> dict[Any, dict[str, Any]]:
    return {tuple(row[key] for key in keys): row for row in table.to_pylist()}


def cost_of(ones: list[Seats]) -> dict[str, float]:
    found: Counter[str] = Counter()
    for one in ones:
        if one.cost is not None:
            found[one.row["currency"]] += one.cost  # type: ignore[assignment]
    return dict(found)


def test_totals_are_those_of_all_licenses_each_kind_apart(answers: Answers, report: Report) -> None:
    found = rows(report.totals, "kind")
    assert found.keys() == {("paid",), ("free",), ("unknown",)}
    for kind in ("paid", "free", "unknown"):
        ones = [one for one in answers.nights[-1] if one.kind == kind]
        known = [one for one in ones if one.unused is not None]
        row = found[kind,]
        assert row["licenses"] == len(ones)
        assert row["with_seats"] == len(known)
        assert row["seats"] == (sum(one.seats or 0 for one in known) if known else None)
        assert row["unused_seats"] == (sum(one.unused or 0 for one in known) if known else None)
        assert (row["over_assigned_seats"] or 0) == sum(one.over for one in known)
        costs = {one["currency"]: one["unused_cost"] for one in row["costs"] or ()}
        assert costs == pytest.approx(cost_of(ones))


@pytest.mark.parametrize(
    ("table", "column", "what"),
    [("vendors", "integration", "integration"), ("customers", "tenant_id", "tenant")],
)
def test_each_vendor_and_customer_has_its_own(
    answers: Answers, report: Report, table: str, column: str, what: str
) -> None:
    found = rows(report.tables[table], column)
    wanted = answers.unused_by(what)
    assert {key: row["unused_seats"] or 0 for (key,), row in found.items()} == wanted


def test_the_trend_has_every_night_and_no_dip_of_accounts_that_were_not_read(
    answers: Answers, report: Report
) -> None:
    found = [row["unused_seats"] for row in report.trend.to_pylist()]
    assert found == [sum(one.unused or 0 for one in answers.paid(night)) for night in range(NIGHTS)]
    assert report.not_read.num_rows, "the emulator has accounts that cannot be read"


def test_changes_are_those_between_the_two_nights(answers: Answers, report: Report) -> None:
    known = answers.compared(1, -1)
    before = {one.key: one for one in answers.nights[1] if one.account in known}
    after = {one.key: one for one in answers.nights[-1] if one.account in known}
    new: Counter[Any] = Counter(after[key].integration for key in after.keys() - before.keys())
    gone: Counter[Any] = Counter(before[key].integration for key in before.keys() - after.keys())
    freed: Counter[Any] = Counter()
    for key in before.keys() | after.keys():
        one = after.get(key) or before[key]
        was = before[key].assigned if key in before else None
        now = after[key].assigned if key in after else None
        freed[one.integration] += max((was or 0) - (now or 0), 0)
    found = rows(report.changes_by_vendor, "integration")
    for (integration,), row in found.items():
        assert row["licenses_new"] == new[integration]
        assert row["licenses_gone"] == gone[integration]
        assert row["seats_freed"] == freed[integration]
    assert sum(row["licenses_new"] for row in found.values()) == new.total()
    assert sum(row["licenses_gone"] for row in found.values()) == gone.total()


def test_the_licenses_that_waste_most_come_first(answers: Answers, report: Report) -> None:
    wanted = {one.key: one.unused for one in answers.paid() if one.unused}
    found = rows(report.wasted, "integrated_account_id", "id")
    assert {key: row["unused_seats"] for key, row in found.items()} == wanted
    unused = [row["unused_seats"] for row in found.values()]
    assert unused == sorted(unused, reverse=True), "prices are in several currencies"
    over = rows(report.over_assigned, "integrated_account_id", "id")
    assert {key: row["over_assigned_seats"] for key, row in over.items()} == {
        one.key: one.over for one in answers.paid() if one.over
    }


def test_filters_choose_a_vendor_and_a_customer(answers: Answers) -> None:
    [chosen] = {one.integration for one in answers.paid()[:1]}
    report = streamlic.report(answers.dest, integration=chosen)
    assert {row["integration"] for row in report.vendors.to_pylist()} == {chosen}
    [total] = [row for row in report.totals.to_pylist() if row["kind"] == "paid"]
    assert total["unused_seats"] == answers.unused_by("integration")[chosen]
    assert [row["unused_seats"] for row in report.trend.to_pylist()] == [
        answers.unused_by("integration", night)[chosen] for night in range(NIGHTS)
    ]
    with pytest.raises(UsageError, match="no license of integration nobody"):
        streamlic.report(answers.dest, integration="nobody")


def test_rates_make_one_sum_of_all_currencies(answers: Answers, tmp_path: Path) -> None:
    (tmp_path / "rates.csv").write_text("currency,rate\nEUR,1.1\nGBP,1.25\n")
    rates = rates_of(str(tmp_path / "rates.csv"), "USD")
    report = streamlic.report(answers.dest, rates=rates, currency="USD")
    wanted = sum(cost * rates[one] for one, cost in cost_of(answers.paid()).items())
    priced = [row for row in report.costs.to_pylist() if row["with_cost"]]
    assert [row["currency"] for row in priced] == ["USD"]
    assert priced[0]["unused_cost"] == pytest.approx(wanted)
    costs = report.wasted["unused_cost"].drop_null().to_pylist()
    assert costs == sorted(costs, reverse=True)


@pytest.mark.parametrize("name", ["night-2", "run", "date"])
def test_a_night_is_named_by_key_run_or_date(answers: Answers, name: str) -> None:
    nights = streamlic.report(answers.dest).nights
    named = {"night-2": "night-2", "run": nights[2].run, "date": nights[-1].at[:10]}[name]
    found = streamlic.report(answers.dest, as_of=named).asked
    assert found.night.key == ("night-4" if name == "date" else "night-2")


def test_a_lake_that_is_overwritten_has_one_night(tmp_path: Path) -> None:
    land(tmp_path / "lake", "one", mode="overwrite")
    land(tmp_path / "lake", "two", mode="overwrite", failing={"account-b": 1})
    report = streamlic.report(tmp_path / "lake")
    assert report.asked.before is None
    assert [row["licenses"] for row in report.trend.to_pylist()] == [
        row["licenses"] for row in report.totals.to_pylist() if row["kind"] == "paid"
    ]


def test_the_first_night_has_nothing_to_compare(answers: Answers) -> None:
    report = streamlic.report(answers.dest, as_of="night-0")
    assert report.asked.before is None
    assert report.movements.num_rows == report.changes_by_vendor.num_rows == 0
    assert report.changes_by_night.num_rows == NIGHTS - 1


def test_the_views_are_what_the_docs_say() -> None:
    text = (Path(__file__).parents[2] / "docs/how-to/report.md").read_text()
    assert set(VIEWS) - {"nights"} <= set(re.findall(r"`(\w+)`", text))


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--compare", "night-4"], "expected another night than night-4"),
        (["--as-of", "never"], "there is no night 'never'"),
        (["--rates", "no-file", "--currency", "USD"], "no-file cannot be read"),
        (["--currency", "USD"], "go together"),
        (["--html", "/no/directory/page.html"], "No such file or directory"),
    ],
)
async def test_mistakes_are_said_clearly(answers: Answers, args: list[str], says: str) -> None:
    ended = await run_cli("report", str(answers.dest), *args)
    assert ended.code in (1, 2)
    assert says in ended.err


async def test_a_place_without_a_lake_is_said_to_be_one(tmp_path: Path) -> None:
    ended = await run_cli("report", str(tmp_path / "nothing"))
    assert (ended.code, "there is no lake" in ended.err) == (2, True)
