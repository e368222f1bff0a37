"""Figures from rounds: medians with their spread, and ratios formed within a round."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Spread:
    """A median, with the least and greatest value."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Return the spread of one value or more."""
        return cls(statistics.median(values), min(values), max(values))

    def text(self, digits: int = 2) -> str:
        """Write it as ``median (least to greatest)``."""
        return (
            f"{_number(self.median, digits)} "
            f"({_number(self.least, digits)} to {_number(self.greatest, digits)})"
        )


def speed(case: dict[str, Any]) -> Spread:
    """Return MB of JSON a second."""
    return Spread.of([one["bytes"] / 1e6 / one["seconds"] for one in case["rounds"]])


def rows_per_second(case: dict[str, Any]) -> Spread:
    """Return rows a second."""
    return Spread.of([one["rows"] / one["seconds"] for one in case["rounds"]])


def seconds(case: dict[str, Any]) -> Spread:
    """Return the seconds that one repetition took."""
    return Spread.of([one["seconds"] for one in case["rounds"]])


def cpu_seconds(case: dict[str, Any]) -> Spread:
    """Return the CPU seconds that one repetition took, all threads together."""
    return Spread.of([one["cpu_seconds"] for one in case["rounds"]])


def cpu_seconds_a_gb(case: dict[str, Any]) -> Spread:
    """Return the CPU seconds that a GB of JSON takes."""
    return Spread.of([one["cpu_seconds"] / one["bytes"] * 1e9 for one in case["rounds"]])


def cpu_ratio(case: dict[str, Any], base: dict[str, Any]) -> Spread:
    """Return how many times the CPU of ``base`` a case takes, round by round."""
    pairs = zip(case["rounds"], base["rounds"], strict=False)
    return Spread.of([a["cpu_seconds"] / b["cpu_seconds"] for a, b in pairs])


def file_mb_per_gb(case: dict[str, Any]) -> float:
    """Return the MB of Parquet that a GB of JSON becomes."""
    last = case["rounds"][-1]
    return float(last["parquet_bytes"] / last["bytes"] * 1e3)


def peak_mib(case: dict[str, Any]) -> float:
    """Return the greatest peak memory of a case, in MiB."""
    return float(max(one["peak_kib"] for one in case["rounds"])) / 1024


def ratio(case: dict[str, Any], base: dict[str, Any]) -> Spread | None:
    """Return how many times as fast as ``base`` a case is, by MB/s, round by round."""
    pairs = list(zip(case["rounds"], base["rounds"], strict=False))
    if not pairs:
        return None
    return Spread.of([(a["bytes"] / a["seconds"]) / (b["bytes"] / b["seconds"]) for a, b in pairs])


def case_named(group: dict[str, Any], name: str) -> dict[str, Any] | None:
    """Return a group's case if it was measured."""
    found: dict[str, Any]
    for found in group["cases"]:
        if found["name"] == name and found["rounds"]:
            return found
    return None


def name(case: dict[str, Any]) -> str:
    """Return a case's name, with its engine if the name does not contain it."""
    said = str(case["rounds"][0].get("engine", "")) if case["rounds"] else ""
    known = not said or said.split()[0] in case["name"]
    return str(case["name"]) if known else f"{case['name']}, {said}"


def _number(value: float, digits: int) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.{digits}f}"
