"""Results as markdown, for a README: ratios with their spread, never typed by hand."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from benchmarks import figures
from benchmarks.machine import headline
from benchmarks.parsing import LICENSES

Group = dict[str, Any]
_LIMITS = ("drain alone", "encode alone")
_WITHIN_LIMITS = "export, fast"


def chosen(results: dict[str, Any]) -> dict[str, Any]:
    """Return the results for the README: licenses of all bodies, the whole job, scale."""
    shown = {"parsing": LICENSES, "scale": ("streamlic", "pages")}
    groups = [
        group
        for group in results["groups"]
        if group["part"] in ("job", "peers") or group["name"] in shown.get(group["part"], ())
    ]
    return {**results, "groups": groups}


def markdown(results: dict[str, Any], *, base: str | None = None) -> str:
    """Return one table for groups with the same cases, else a table for each group.

    ``base`` is the case that ratios are to, where a group has it; else the group's own.
    """
    texts = [f"Measured on {headline(results['facts'])}."]
    for _, found in groupby(results["groups"], _cases):
        groups = list(found)
        chosen = base if base and figures.case_named(groups[0], base) else groups[0]["base"]
        table = _by_group(groups, chosen) if len(groups) > 1 else _by_case(groups[0], chosen)
        texts += ["", *table]
    return "\n".join(texts)


def _cases(group: Group) -> tuple[str, ...]:
    return (group["part"], *(case["name"] for case in group["cases"]))


def _by_group(groups: list[Group], base: str) -> list[str]:
    """Return a line for each group, a column for each case that was measured in any."""
    names = [
        case["name"]
        for case in groups[0]["cases"]
        if any(figures.case_named(group, case["name"]) for group in groups)
    ]
    lines = [f"**{groups[0]['part']}**, times {base}", ""]
    has_limits = all(name in names for name in (_WITHIN_LIMITS, *_LIMITS))
    more = [f"{_WITHIN_LIMITS}, of the slower limit"] if has_limits else []
    heads = ["", *names, *more]
    lines += [_line(heads), _line(["---"] * len(heads))]
    for group in groups:
        ratios = [_ratio(group, name, base) for name in names]
        limits = [_share_of_limit(group)] if has_limits else []
        lines.append(_line([group["name"], *ratios, *limits]))
    lines.append("")
    for case in groups[0]["cases"]:
        if case["note"]:
            lines.append(f"- {case['name']}: {case['note']}")
        if case["name"] not in names:
            lines.append(f"- {case['name']} is left out: {case['left_out']}")
    return lines


def _by_case(group: Group, base: str) -> list[str]:
    """Return a line for each case."""
    heads = ["", f"times {base}", "MB/s", "seconds", "peak MiB", ""]
    lines = [f"**{group['part']}: {group['name']}** ({group['about']})", ""]
    lines += [_line(heads), _line(["---"] * len(heads))]
    for case in group["cases"]:
        if not case["rounds"]:
            lines.append(_line([case["name"], "", "", "", "", f"left out: {case['left_out']}"]))
            continue
        lines.append(
            _line(
                [
                    figures.name(case),
                    _ratio(group, case["name"], base),
                    figures.speed(case).text(1),
                    f"{figures.seconds(case).median:.3g}",
                    f"{figures.peak_mib(case):,.0f}",
                    case["note"],
                ]
            )
        )
    return lines


def _ratio(group: Group, name: str, base: str) -> str:
    case, other = figures.case_named(group, name), figures.case_named(group, base)
    if case is None:
        return "cannot" if any(one["name"] == name for one in group["cases"]) else ""
    if other is None:
        return ""
    if name == base:
        return "1"
    ratio = figures.ratio(case, other)
    return ratio.text() if ratio else ""


def _share_of_limit(group: Group) -> str:
    """Return which share of the slower of its two limits an export reaches."""
    case = figures.case_named(group, _WITHIN_LIMITS)
    limits = [one for name in _LIMITS if (one := figures.case_named(group, name))]
    if not case or not limits:
        return ""
    slower = min(limits, key=lambda one: figures.speed(one).median)
    share = figures.ratio(case, slower)
    return f"{share.median:.0%} ({share.least:.0%} to {share.greatest:.0%})" if share else ""


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
