"""Thirty nights: the report's figures, and those that polars computes from the same records."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

import streamlic
from streamlic.answers.figures import Report
from tests.answers.conftest import Answers, Seats, landed

pytestmark = pytest.mark.slow
NIGHTS = 30
FIGURES = ["licenses", "with_seats", "seats", "assigned_seats", "unused_seats",
           "over_assigned_seats", "with_cost"]  # fmt: skip


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    return landed(tmp_path_factory.mktemp("thirty") / "lake", NIGHTS)


@pytest.fixture(scope="module")
def frame(lake: Answers) -> pl.DataFrame:
    """Return the licenses of all nights, with seats that are unlimited or unknown as null."""
    columns = {
        "account": pl.String, "integration": pl.String, "tenant": pl.String, "id": pl.String,
        "name": pl.String, "is_paid": pl.Boolean, "available_quantity": pl.Int64,
        "assigned_quantity": pl.Int64, "unit_amount": pl.Float64, "currency": pl.String,
    }  # fmt: skip
    rows = [
        {"night": night, **{name: value_of(one, name) for name in columns}}
        for night, ones in enumerate(lake.nights)
        for one in ones
    ]
    total, used = pl.col("available_quantity"), pl.col("assigned_quantity")
    is_limited = (total >= 0) & (total < 2**31 - 1)
    is_known = is_limited & (used >= 0)
    return pl.DataFrame(rows, {"night": pl.Int64, **columns}).with_columns(
        seats=pl.when(is_known).then(total),
        assigned=pl.when(is_known).then(used),
        seen=pl.when(is_limited).then(total),
        users=pl.when(is_limited.fill_null(value=True) & (used >= 0)).then(used),
        unused=pl.when(is_known).then((total - used).clip(0)),
        over=pl.when(is_known).then((used - total).clip(0)),
        price=pl.when(pl.col("is_paid") & pl.col("currency").is_not_null()).then("unit_amount"),
    )


def value_of(one: Seats, name: str) -> Any:
    return one.row[name] if name in one.row else getattr(one, name)


def summed(frame: pl.DataFrame, *by: str) -> pl.DataFrame:
    """Return the figures of each group, with no sum where no license has a number."""
    cost = pl.col("unused") * pl.col("price")
    sums = {"seats": "seats", "assigned_seats": "assigned", "unused_seats": "unused",
            "over_assigned_seats": "over"}  # fmt: skip
    return frame.group_by(by).agg(
        licenses=pl.len(),
        with_seats=pl.col("unused").count(),
        **{
            name: pl.when(pl.col("unused").count() > 0).then(pl.col(of).sum())
            for name, of in sums.items()
        },
        with_cost=cost.count(),
    )


def same(found: Any, wanted: pl.DataFrame, **names: str) -> None:
    """Compare a table of the report with polars' figures."""
    keys = list(names)
    rows = pl.DataFrame(pl.from_arrow(found)).rename({of: name for name, of in names.items()})
    chosen = [*keys, *FIGURES]
    assert rows.select(chosen).sort(keys).rows() == wanted.select(chosen).sort(keys).rows()


@pytest.mark.parametrize("night", [0, 7, NIGHTS - 1])
def test_each_figure_of_a_night_is_that_of_polars(
    lake: Answers, frame: pl.DataFrame, night: int
) -> None:
    report = streamlic.report(lake.dest, as_of=f"night-{night}")
    tonight = frame.filter(pl.col("night") == night)
    paid = tonight.filter("is_paid")
    same(report.vendors, summed(paid, "integration"), integration="integration")
    same(report.customers, summed(paid, "tenant"), tenant="tenant_id")
    same(
        report.products, summed(paid, "integration", "name"), integration="integration", name="name"
    )
    kinds = pl.col("is_paid").replace_strict({True: "paid", False: "free"}, default="unknown")
    same(report.totals, summed(tonight.with_columns(kind=kinds), "kind"), kind="kind")
    cost = pl.col("unused") * pl.col("price")
    wanted = paid.group_by("currency").agg(cost.sum().alias("cost"), n=cost.count())
    found = {row["currency"]: row["unused_cost"] for row in report.costs.to_pylist()}
    assert {k: v for k, v in found.items() if v is not None} == pytest.approx(
        {currency: cost for currency, cost, n in wanted.rows() if n}
    )


CHANGES = ["licenses_new", "licenses_gone", "licenses_moved", "seats_bought", "seats_given_up",
           "seats_assigned", "seats_freed"]  # fmt: skip


def changed(
    lake: Answers, frame: pl.DataFrame, before: int, after: int, *by: str
) -> list[tuple[Any, ...]]:
    """Return what changed of all licenses between two nights, of each group that it changed in."""
    key = ["account", "id"]
    frame = frame.filter(pl.col("account").is_in([*lake.compared(before, after)]))
    was, now = (frame.filter(pl.col("night") == night) for night in (before, after))
    both = now.join(was, on=key, how="full", coalesce=True, suffix="_before")
    is_new, is_gone = pl.col("night_before").is_null(), pl.col("night").is_null()
    more, more_used = (
        pl.col(one).fill_null(0) - pl.col(f"{one}_before").fill_null(0) for one in ("seen", "users")
    )
    is_moved = pl.col("seen").ne_missing(pl.col("seen_before")) | pl.col("users").ne_missing(
        pl.col("users_before")
    )
    sums = {"licenses_new": is_new, "licenses_gone": is_gone,
            "licenses_moved": is_moved & ~is_new & ~is_gone,
            "seats_bought": more.clip(0), "seats_given_up": (-more).clip(0),
            "seats_assigned": more_used.clip(0), "seats_freed": (-more_used).clip(0)}  # fmt: skip
    found = (
        both.with_columns(pl.coalesce(one, f"{one}_before").alias(one) for one in by)
        .filter(is_new | is_gone | is_moved)
        .group_by(*by, pl.lit(0))
        .agg(**{name: of.sum() for name, of in sums.items()})
    )
    return found.select(*by, *CHANGES).sort(by or CHANGES).rows()


def rows_of(table: Any, *by: str) -> list[tuple[Any, ...]]:
    frame = pl.DataFrame(pl.from_arrow(table)).select(*by, *CHANGES)
    return frame.sort(by).rows() if by else frame.rows()


def test_the_trend_and_the_changes_of_thirty_nights(lake: Answers, frame: pl.DataFrame) -> None:
    report: Report = streamlic.report(lake.dest, compare="night-0")
    paid = frame.filter("is_paid")
    trend = report.trend.append_column("night", [[*range(NIGHTS)]])
    same(trend, summed(paid, "night"), night="night")
    assert report.trend["run_key"].to_pylist() == [f"night-{night}" for night in range(NIGHTS)]

    customers = report.changes_by_customer.rename_columns({"tenant_id": "tenant"})
    for table, by in ((report.changes_by_vendor, "integration"), (customers, "tenant")):
        assert rows_of(table, by) == changed(lake, frame, 0, NIGHTS - 1, by)
    assert [rows_of(report.changes_by_night.slice(night, 1)) for night in range(NIGHTS - 1)] == [
        changed(lake, frame, night, night + 1) for night in range(NIGHTS - 1)
    ]
    assert len(report.movements) > report.asked.top
