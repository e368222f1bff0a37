"""The report's pictures, drawn by Vega-Lite without a browser.

Each is drawn for light and dark pages, wide and narrow ones, as an SVG that needs no script.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from streamlic.answers.figures import Report
from streamlic.answers.lake_sql import not_installed

_WIDTHS: Final = {"wide": 640, "narrow": 200}
"""In pixels, without the labels of an axis."""
_BARS = 12
_INK: Final = {
    "light": ("#1f2430", "#2f6fde", "#c9d3e6"),
    "dark": ("#e6e9f0", "#7fb0ff", "#3a4356"),
}


@dataclass(frozen=True)
class Chart:
    """A picture for each kind of page, as a data URL, and what it shows in words."""

    title: str
    about: str
    wide_light: str
    wide_dark: str
    narrow_light: str
    narrow_dark: str


def charts(report: Report) -> list[Chart]:
    """Draw what a report has enough rows for. UsageError if the libraries are not installed."""
    return [one for one in (_vendors(report), _trend(report)) if one]


def _vendors(report: Report) -> Chart | None:
    rows = [
        {"vendor": row["integration"] or "unknown", "kind": kind, "seats": seats}
        for row in report.vendors.slice(0, _BARS).to_pylist()
        for kind, seats in (
            # Without the users beyond the seats of a license.
            ("assigned", (row["seats"] or 0) - (row["unused_seats"] or 0)),
            ("unused", row["unused_seats"] or 0),
        )
    ]
    if not rows:
        return None
    order = [row["vendor"] for row in rows[::2]]

    def draw(alt: Any, ink: tuple[str, str, str]) -> Any:
        return (
            alt.Chart(alt.Data(values=rows))
            .mark_bar()
            .encode(
                y=alt.Y("vendor:N", sort=order, title=None),
                x=alt.X("seats:Q", title="paid seats", axis=alt.Axis(tickCount=4, format="~s")),
                color=alt.Color(
                    "kind:N",
                    title=None,
                    scale=alt.Scale(domain=["unused", "assigned"], range=[ink[1], ink[2]]),
                    legend=alt.Legend(orient="top"),
                ),
                order=alt.Order("kind:N", sort="descending"),
            )
            .properties(height=alt.Step(22))
        )

    worst = report.vendors.slice(0, 3).to_pylist()
    words = ", ".join(f"{one['integration']}: {one['unused_seats'] or 0:,} unused" for one in worst)
    return _drawn("Paid seats by vendor", draw, f"Bars of paid seats by vendor. First: {words}.")


def _trend(report: Report) -> Chart | None:
    nights = report.trend.to_pylist()
    if len(nights) < 2:
        return None
    labels = {night.at: night for night in report.nights}
    at = [labels[one["night_at"].isoformat()] for one in nights]
    by_day = len({night.day for night in at}) == len(at)
    rows = [
        {"night": night.day.isoformat() if by_day else night.at, "seats": one["unused_seats"] or 0}
        for night, one in zip(at, nights, strict=True)
    ]

    def draw(alt: Any, ink: tuple[str, str, str]) -> Any:
        return (
            alt.Chart(alt.Data(values=rows))
            .mark_line(color=ink[1], point={"color": ink[1]})
            .encode(
                x=alt.X(
                    "night:T",
                    title=None,
                    axis=alt.Axis(
                        format="%b %-d" if by_day else "%b %-d, %H:%M",
                        labelOverlap=True,
                        labelSeparation=8,
                    ),
                ),
                y=alt.Y("seats:Q", title="unused paid seats", scale=alt.Scale(zero=False)),
            )
            .properties(height=220)
        )

    first, last = rows[0], rows[-1]
    words = (
        f"A line over {len(rows):,} nights, from {first['seats']:,} unused seats in night "
        f"{at[0].label} to {last['seats']:,} in night {at[-1].label}."
    )
    return _drawn("Unused paid seats, night by night", draw, words)


def _drawn(title: str, draw: Any, words: str) -> Chart:
    try:
        import altair as alt  # noqa: PLC0415  # an extra
        import vl_convert  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise not_installed(error) from error
    pictures = {}
    for (size, width), (mode, ink) in product(_WIDTHS.items(), _INK.items()):
        chart = draw(alt, ink).properties(width=width).configure(
            background="transparent",
            padding={"left": 24, "right": 12, "top": 4, "bottom": 4},
            font="sans-serif",
            view=alt.ViewConfig(stroke=None),
            axis=alt.AxisConfig(
                labelColor=ink[0], titleColor=ink[0], gridColor=ink[2], gridOpacity=0.5,
                domainColor=ink[2], tickColor=ink[2], labelFontSize=12, titleFontSize=12,
                labelLimit=200,
            ),
            legend=alt.LegendConfig(labelColor=ink[0], labelFontSize=12),
        )  # fmt: skip
        svg = vl_convert.vegalite_to_svg(chart.to_dict())
        data = base64.b64encode(svg.encode()).decode()
        pictures[f"{size}_{mode}"] = f"data:image/svg+xml;base64,{data}"
    return Chart(title, words, **pictures)
