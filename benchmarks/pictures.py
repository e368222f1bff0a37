"""The figures as pictures: throughput as bars, and time and memory as lines over the size."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks import figures
from benchmarks.bodies import KINDS
from benchmarks.parsing import LICENSES

_OURS, _THEIRS, _INK = "#0b7285", "#adb5bd", "#343a40"
_REFERENCE = "#66b2bf"
_LINES = {"streamlic": _OURS, "response.json() + pyarrow": "#e8590c", "ijson + pyarrow": "#868e96"}
_BARS = (
    ("parsing", "parsing-throughput", "Decoding licenses, one thread"),
    ("parsing", "parsing-kinds", "Decoding other bodies, one thread"),
    ("peers", "peers-throughput", "HTTP to Parquet"),
)


def draw(results: dict[str, Any], out: Path) -> list[Path]:
    """Draw what the results hold into ``out``, each as SVG and PNG; return the files."""
    matplotlib = import_module("matplotlib")
    matplotlib.use("Agg")
    matplotlib.rcParams.update({"font.size": 9, "text.color": _INK, "svg.hashsalt": "streamlic",
                                "axes.spines.top": False, "axes.spines.right": False})  # fmt: skip
    files = []
    for part, name, title in _BARS:
        groups = [one for one in results["groups"] if one["part"] == part and _is_in(one, name)]
        if groups:
            files += _bars(groups, title, out / name)
    lines = [one for one in results["groups"] if one["part"] == "scale" and one["name"] in _LINES]
    if lines:
        files += _scale(lines, "seconds", figures.seconds, out / "scale-time")
        files += _scale(lines, "peak memory, MiB", figures.peak_mib, out / "scale-memory")
    return files


def _is_in(group: dict[str, Any], picture: str) -> bool:
    if picture == "parsing-kinds":
        return group["name"] in KINDS and group["name"] not in LICENSES
    return group["part"] == "peers" or group["name"] in LICENSES


def _bars(groups: list[dict[str, Any]], title: str, target: Path) -> list[Path]:
    """Draw a panel for each group: the median of each case, and its spread as a whisker."""
    plt = import_module("matplotlib.pyplot")
    columns = min(len(groups), 2 if len(groups) == 4 else 3)
    rows = -(-len(groups) // columns)
    height = max(len(group["cases"]) for group in groups) * 0.26 + 0.7
    figure, axes = plt.subplots(
        rows, columns, figsize=(3.6 * columns + 0.6, height * rows + 0.5), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for axis in axes.flat[len(groups) :]:
        axis.set_visible(False)
    for axis, group in zip(axes.flat, groups, strict=False):
        _panel(axis, group)
    figure.suptitle(f"{title}: MB of JSON a second, longer is better")
    return _saved(figure, target)


def _panel(axis: Any, group: dict[str, Any]) -> None:
    cases = [case for case in group["cases"] if case["rounds"]][::-1]
    speeds = [figures.speed(case) for case in cases]
    medians = [one.median for one in speeds]
    whiskers = [
        [one.median - one.least for one in speeds],
        [one.greatest - one.median for one in speeds],
    ]
    names = [case["name"] for case in cases]
    colors = [_color(name) for name in names]
    bars = axis.barh(names, medians, color=colors, xerr=whiskers, ecolor=_INK,
                     error_kw={"linewidth": 0.8})  # fmt: skip
    axis.bar_label(bars, fmt="%.0f", padding=6)
    axis.margins(x=0.18)
    axis.set_title(group["name"], loc="left")


def _color(name: str) -> str:
    if name.startswith(("streamlic", "reference", "fast")):
        return _REFERENCE if "reference" in name else _OURS
    return _THEIRS


def _scale(groups: list[dict[str, Any]], label: str, figure_of: Any, target: Path) -> list[Path]:
    """Draw a line for each group over the size of the body, both axes by powers of ten."""
    plt = import_module("matplotlib.pyplot")
    ticker = import_module("matplotlib.ticker")
    figure, axis = plt.subplots(figsize=(5.6, 3.6), layout="constrained")
    for group in groups:
        cases = [case for case in group["cases"] if case["rounds"]]
        sizes = [case["rounds"][0]["bytes"] / 1e6 for case in cases]
        values = [figure_of(case) for case in cases]
        heights = [one.median if isinstance(one, figures.Spread) else one for one in values]
        name = group["name"]
        axis.plot(sizes, heights, marker="o", markersize=4, color=_LINES[name], label=name)
    axis.set(xscale="log", yscale="log", xlabel="MB of JSON in one body", ylabel=label)
    low, high = axis.get_ylim()
    axis.set_ylim(low / 2, high * 1.5)  # So that a flat line looks flat.
    for one in (axis.xaxis, axis.yaxis):
        one.set_major_locator(ticker.LogLocator(subs=(1, 3)))
        one.set_major_formatter("{x:g}")
        one.set_minor_formatter(ticker.NullFormatter())
    axis.grid(which="major", color="#dee2e6", linewidth=0.6)
    axis.legend(frameon=False)
    axis.set_title(f"HTTP to Parquet: {label} by the size of the body", loc="left")
    return _saved(figure, target)


def _saved(figure: Any, target: Path) -> list[Path]:
    files = [target.with_suffix(suffix) for suffix in (".svg", ".png")]
    for file in files:
        metadata = {"Date": None} if file.suffix == ".svg" else None
        figure.savefig(file, dpi=160, metadata=metadata)
    import_module("matplotlib.pyplot").close(figure)
    return files
