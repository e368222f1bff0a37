"""``python -m benchmarks PART``: measure, print tables, write results and pictures.

``readme RESULTS`` prints the ratios of a results file as markdown; ``compare BASE`` sets this tree
next to another revision of itself. ``uploads`` needs an object store of the tests.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import (
    compare,
    encoding,
    job,
    machine,
    pages,
    parsing,
    peers,
    pictures,
    readme,
    report,
    scale,
    start,
    uploads,
)  # fmt: skip
from benchmarks.measure import Group, run_group
from benchmarks.plan import QUICK, Plan

Groups = Callable[[Plan, Path, ExitStack], list[Group]]
PARTS: dict[str, Groups] = {
    "parsing": parsing.groups,
    "job": job.groups,
    "pages": pages.groups,
    "start": start.groups,
    "encoding": encoding.groups,
    "peers": peers.groups,
    "scale": scale.groups,
    "emulator": job.emulator_groups,
}
_RESULTS = Path("build/bench")


def main() -> None:
    """Run what was asked for."""
    if sys.argv[1:2] == ["serve"]:
        from benchmarks import emulated

        emulated.serve(json.loads(sys.argv[2]))
        return
    if sys.argv[1:2] == ["serve-files"]:
        from benchmarks import served

        served.serve(json.loads(sys.argv[2]))
        return
    parser = _parser()
    given = parser.parse_intermixed_args()
    if given.part in ("readme", "compare") and not given.what:
        parser.error("expected a results file after readme, a revision after compare (BASE=...)")
    if given.part == "readme":
        results = readme.chosen(json.loads(Path(given.what).read_text()))
        print(readme.markdown(results, base=given.base))
        return
    plan = replace(QUICK if given.quick else Plan(), is_full=given.full)
    if given.rounds:
        plan = replace(plan, rounds=given.rounds, few_rounds=given.rounds)
    measure(given.part, _parts(given.part, given.what), plan, given.out)


def _parts(name: str, what: str) -> list[Groups]:
    if name == "compare":
        return [partial(compare.groups, base=what)]
    if name == "uploads":
        return [uploads.groups]
    return list(PARTS.values()) if name == "all" else [PARTS[name]]


def measure(name: str, parts: list[Groups], plan: Plan, out: Path) -> None:
    """Measure; print the tables, write the results as JSON, and draw them."""
    results: dict[str, Any] = {"facts": machine.facts(), "plan": vars(plan), "groups": []}
    with tempfile.TemporaryDirectory(prefix="streamlic-bench-") as scratch:
        for part in parts:
            with ExitStack() as stack:
                for group in part(plan, Path(scratch), stack):
                    results["groups"].append(run_group(group, _say))
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{name}.json"
    file.write_text(json.dumps(results, indent=1) + "\n")
    tables = report.tables(results)
    (out / f"{name}.txt").write_text(tables + "\n")
    print(tables)
    _say(f"results are in {file}")
    try:
        drawn = pictures.draw(results, out)
    except ModuleNotFoundError as missing:
        _say(f"no pictures: {missing} (the extra `bench` brings it)")
    else:
        _say(f"pictures are in {out}: {', '.join(one.name for one in drawn) or 'none'}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parts = [*PARTS, "uploads", "all", "compare", "readme"]
    parser.add_argument("part", choices=parts, nargs="?", default="all")
    parser.add_argument("what", nargs="?", help="readme: the results file; compare: the revision")
    parser.add_argument("--quick", action="store_true", help="small and short: only to see it run")
    parser.add_argument("--full", action="store_true", help="scale up to 10 GB of body")
    parser.add_argument("--rounds", type=int, help="repetitions")
    parser.add_argument("--base", help="with readme: the case that ratios are to")
    parser.add_argument("--out", type=Path, default=_RESULTS, help="directory for the results")
    return parser


if __name__ == "__main__":
    main()
