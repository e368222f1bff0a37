"""The parsing path: local bytes to columns in one thread, all readers on the same bodies."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.bodies import KINDS, Body, make_body
from benchmarks.measure import Case, Group
from benchmarks.plan import Plan

_SOURCE = Path(__file__).with_name("simdjson_fields.cpp")
_HUGE_BLOCK_BYTES = 16 << 20
LICENSES = ("licenses", "licenses-plain", "clean", "clean-plain")
_CHUNKS = [1 << shift for shift in (10, 12, 14, 16, 18, 20, 22)]
_BATCH_ROWS = [256, 2048, 8192, 65536]
NOTES = {
    "textbook": "a value of a wrong type and an unknown field become a silent null",
    "pyarrow.json": "infers remote_data as a struct, not text; one value of a wrong type ends it",
    "duckdb": "rewrites the numbers in remote_data; a value of a wrong type becomes null",
    "simdjson": "compiled for this very CPU; needs the whole body; misfits and unknown fields are "
    "lost; ends in plain buffers",
}


_CLEAN = ("clean", "clean-plain")
"""Kinds in which no number is beyond 64 bits."""


def groups(plan: Plan, directory: Path, _: ExitStack) -> list[Group]:
    """Return all comparisons of the parsing path."""
    program, why_not = simdjson_program(directory)
    kinds = [kind for kind in KINDS if not plan.is_quick or kind in ("licenses", "clean-plain")]
    found = []
    for kind in kinds:
        is_main = kind in LICENSES
        size = plan.licenses_bytes if is_main else plan.kinds_bytes
        body = make_body(kind, size, directory)
        cases = [*engines(body), *_others(body, program, why_not)]
        rounds = plan.rounds if is_main else plan.few_rounds
        found.append(
            Group(part="parsing", name=kind, about=_about(body), cases=_with_duration(cases, plan),
                  base="textbook", rounds=rounds)
        )  # fmt: skip
    body = make_body("licenses", plan.kinds_bytes, directory)
    return [*found, _stages(body, plan, directory), *_sizes(body, plan)]


def engines(body: Body, **given: Any) -> list[Case]:
    """Return a case for each of streamlic's engines."""
    given = {"envelope": str(body.envelope), **given}
    return [
        Case(name=name, do="decoders.engine", given={**given, "engine": name})
        for name in ("reference", "fast")
    ]


def simdjson_program(directory: Path) -> tuple[str, str]:
    """Compile the comparison with simdjson; return its path, or why that failed."""
    target = directory / "simdjson_fields"
    if not shutil.which("g++"):
        return "", "g++ is not installed"
    command = ["g++", "-std=c++17", "-O3", "-march=native", str(_SOURCE), "-o", str(target)]
    done = subprocess.run([*command, "-lsimdjson"], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return str(target), ""
    if "simdjson.h" in done.stderr and "No such file" in done.stderr:
        return "", "simdjson.h is not installed (Debian's libsimdjson-dev)"
    return "", "it did not compile: " + " ".join(done.stderr.split())[-200:]


def _others(body: Body, program: str, why_not: str) -> list[Case]:
    files = {"envelope": str(body.envelope), "lines": str(body.lines)}
    arrow = {**files, "block_bytes": _HUGE_BLOCK_BYTES} if body.kind == "huge" else files
    duckdb = {**files, "is_mixed": KINDS[body.kind].is_mixed}
    cases = [
        Case(
            name="textbook",
            do="decoders.textbook",
            given={**files, "is_clean": body.kind in _CLEAN},
        ),
        Case(name="pyarrow.json", do="decoders.arrow_json", given=arrow),
        Case(name="duckdb", do="decoders.duckdb_json", given=duckdb),
        Case(name="simdjson", program=(program, str(body.envelope)), left_out=why_not),
    ]
    return [replace(case, note=NOTES[case.name]) for case in cases]


def _stages(body: Body, plan: Plan, directory: Path) -> Group:
    """Return the stages one by one, to show which one slowed down.

    Records that all fit show the cost of decoding; records of which some do not fit add rescues.
    """
    clean = make_body("clean", plan.kinds_bytes, directory)
    notes = {
        "scan": "records found and checked, their text copied whole",
        "decode": "every value into its column, of records that all fit",
        "decode and rescue": "of records of which one in twenty does not fit",
    }
    stages = zip(
        notes.items(),
        (engines(body, raw=True), engines(clean), engines(body)),
        strict=True,
    )
    cases = [
        replace(case, name=f"{case.name}: {name}", note=note)
        for (name, note), both in stages
        for case in both
    ]
    hand_over = Case(
        name="batch export",
        do="decoders.handed_over",
        given={"envelope": str(body.envelope)},
        note="through Arrow's C data interface, as the fast engine's batches go",
    )
    return Group(part="parsing", name="stages", about=_about(body),
                 cases=_with_duration([*cases, hand_over], plan),
                 base="reference: decode and rescue",
                 rounds=plan.few_rounds)  # fmt: skip


def _sizes(body: Body, plan: Plan) -> list[Group]:
    """Return the engines with several chunk and batch sizes."""
    if plan.is_quick:
        return []
    chunks = [
        replace(case, name=f"{case.name}, {size >> 10} KiB chunks")
        for name in (0, 1)
        for size in _CHUNKS
        for case in engines(body, chunk_bytes=size)[name : name + 1]
    ]
    batches = [
        replace(case, name=f"{case.name}, {rows} rows")
        for name in (0, 1)
        for rows in _BATCH_ROWS
        for case in engines(body, batch_rows=rows, batch_bytes=1 << 30)[name : name + 1]
    ]
    return [
        Group(part="parsing", name=name, about=_about(body), cases=_with_duration(cases, plan),
              base=base, rounds=plan.few_rounds)
        for name, cases, base in (
            ("chunk sizes", chunks, "reference, 64 KiB chunks"),
            ("batch sizes", batches, "reference, 8192 rows"),
        )
    ]  # fmt: skip


def _about(body: Body) -> str:
    size = body.bytes / 1e6
    return f"{KINDS[body.kind].about}: {size:.1f} MB, {body.rows:,} rows"


def _with_duration(cases: list[Case], plan: Plan) -> list[Case]:
    """Give every case the minimum duration of one measurement."""
    seconds = plan.at_least_seconds
    return [
        replace(case, program=(*case.program, str(seconds)))
        if case.program
        else replace(case, given={**case.given, "at_least_seconds": seconds})
        for case in cases
    ]
