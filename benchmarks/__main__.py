"""``python -m benchmarks PART``: measure, print tables, write results and pictures.

``readme`` prints the ratios of a results file as markdown; ``compare`` sets this tree beside
another revision of itself.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import job, machine, parsing, peers, report
from benchmarks.measure import Group, run_group
from benchmarks.plan import QUICK, Plan

PARTS: dict[str, Callable[[Plan, Path, ExitStack], list[Group]]] = {
    "parsing": parsing.groups,
    "job": job.groups,
    "peers": peers.groups,
    "emulator": job.emulator_groups,
}
_RESULTS = Path(__file__).with_name("results")


def main() -> None:
    """Run what was asked for."""
    if sys.argv[1:2] == ["worker"]:
        from benchmarks import worker

        worker.main(json.loads(sys.argv[2]))
        return
    if sys.argv[1:2] == ["serve"]:
        from benchmarks import emulated

        emulated.serve(json.loads(sys.argv[2]))
        return
    given = _parser().parse_args()
    if given.part == "readme":
        print(report.markdown(json.loads(Path(given.what).read_text())))
        return
    plan = replace(QUICK if given.quick else Plan(), is_full=given.full)
    if given.rounds:
        plan = replace(plan, rounds=given.rounds, few_rounds=given.rounds)
    measure(given.part, plan, given.out)


def measure(part: str, plan: Plan, out: Path) -> None:
    """Measure a part, or all; print the tables, and write results as JSON."""
    results: dict[str, Any] = {"facts": machine.facts(), "plan": vars(plan), "groups": []}
    with tempfile.TemporaryDirectory(prefix="streamlic-bench-") as scratch:
        for name in PARTS if part == "all" else [part]:
            with ExitStack() as stack:
                for group in PARTS[name](plan, Path(scratch), stack):
                    results["groups"].append(run_group(group, _say))
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{part}.json"
    file.write_text(json.dumps(results, indent=1) + "\n")
    print(report.tables(results))
    _say(f"results are in {file}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("part", choices=[*PARTS, "all", "readme"], nargs="?", default="all")
    parser.add_argument("what", nargs="?", help="with readme: the results file")
    parser.add_argument("--quick", action="store_true", help="small and short: only to see it run")
    parser.add_argument("--full", action="store_true", help="scale up to 10 GB of body")
    parser.add_argument("--rounds", type=int, help="repetitions")
    parser.add_argument("--out", type=Path, default=_RESULTS, help="directory for the results")
    return parser


if __name__ == "__main__":
    main()
