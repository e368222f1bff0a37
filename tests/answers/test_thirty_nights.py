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
    is_known = (total >= 0) & (total < 2**31 - 1) & (used >= 0)
    return pl.DataFrame(rows, {"night": pl.Int64, **columns}).with_columns(
        seats=pl.when(is_known).then(total),
        assigned=pl.when(is_known).then(used),
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


def test_the_trend_and_the_changes_of_thirty_nights(lake: Answers, frame: pl.DataFrame) -> None:
    report: Report = streamlic.report(lake.dest, compare="night-0")
    paid = frame.filter("is_paid")
    trend = report.trend.append_column("night", [[*range(NIGHTS)]])
    same(trend, summed(paid, "night"), night="night")
    assert report.trend["run_key"].to_pylist() == [f"night-{night}" for night in range(NIGHTS)]

    first, last = (
        frame.filter(pl.col("night") == night).select(
            "account", "id", "integration", pl.col("assigned_quantity").alias("users")
        )
        for night in (0, NIGHTS - 1)
    )
    both = last.join(first, on=["account", "id"], how="full", coalesce=True, suffix="_before")
    vendor = pl.coalesce("integration", "integration_before").alias("integration")
    counted = (
        both.group_by(vendor)
        .agg(
            licenses_new=pl.col("integration_before").is_null().sum(),
            licenses_gone=pl.col("integration").is_null().sum(),
        )
        .filter((pl.col("licenses_new") > 0) | (pl.col("licenses_gone") > 0))
    )
    found = {
        row["integration"]: (row["licenses_new"], row["licenses_gone"])
        for row in report.changes.to_pylist()
        if row["licenses_new"] or row["licenses_gone"]
    }
    assert found == {name: (new, gone) for name, new, gone in counted.rows()}
    assert len(report.movements) > report.asked.top
