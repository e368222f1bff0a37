"""The benchmarks run and compare like with like. What they measure is nobody's assertion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import encoding, figures, parsing, readme, report
from benchmarks.bodies import KINDS, make_body
from benchmarks.measure import ROOT, Case, Group, Worker, run_group
from benchmarks.plan import QUICK
from streamlic.decoder import open_decoder

_BYTES = 60_000


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_is_the_same_every_time_and_in_both_forms(kind: str, tmp_path: Path) -> None:
    body = make_body(kind, _BYTES, tmp_path)
    envelope = body.envelope.read_bytes()
    records = json.loads(envelope)["result"]
    assert records == [json.loads(line) for line in body.lines.read_bytes().splitlines()]
    assert len(records) == body.rows
    assert len(envelope) == body.bytes
    (tmp_path / "again").mkdir()
    assert make_body(kind, _BYTES, tmp_path / "again").envelope.read_bytes() == envelope


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not KINDS[kind].is_mixed])
def test_a_body_that_is_not_mixed_holds_only_what_its_columns_take(
    kind: str, tmp_path: Path
) -> None:
    decoder = open_decoder()
    decoder.feed(make_body(kind, _BYTES, tmp_path).envelope.read_bytes())
    decoder.close()
    assert (decoder.envelope.rescued > 0) == (kind == "unknown")


@pytest.fixture(scope="module")
def simdjson(tmp_path_factory: pytest.TempPathFactory) -> str:
    program, why_not = parsing.simdjson_program(tmp_path_factory.mktemp("simdjson"))
    if not program:
        pytest.skip(why_not)
    return program


@pytest.mark.parametrize("kind", ["clean", "wide", "escapes", "deep", "tiny"])
def test_the_comparison_with_simdjson_extracts_as_many_values(
    kind: str, simdjson: str, tmp_path: Path
) -> None:
    body = make_body(kind, _BYTES, tmp_path)
    with Worker(Case(name="simdjson", program=(simdjson, str(body.envelope), "0"))) as worker:
        answer = worker.ask()
    decoder = open_decoder()
    batches = decoder.feed(body.envelope.read_bytes()) + decoder.close()
    values = sum(
        batch.num_rows - column.null_count
        for batch in batches
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
        if name != "_rescued"
    )
    assert (answer["rows"], answer["values"]) == (body.rows, values)


def test_a_case_that_cannot_do_the_work_is_shown_with_its_reason(tmp_path: Path) -> None:
    body = make_body("licenses", _BYTES, tmp_path)
    files = {"envelope": str(body.envelope), "lines": str(body.lines)}
    cases = [
        Case(name="reads", do="decoders.textbook", given=files),
        Case(name="fails", do="decoders.arrow_json", given=files),
    ]
    group = Group(part="parsing", name="two", about="", cases=cases, base="reads", rounds=2)
    said: list[str] = []
    found = run_group(group, said.append)
    assert [len(case["rounds"]) for case in found["cases"]] == [2, 0]
    assert found["cases"][1]["left_out"].startswith("ArrowInvalid: ")
    assert any("left out: fails: ArrowInvalid" in line for line in said)
    results = {"facts": _FACTS, "groups": [found]}
    assert "left out: ArrowInvalid" in report.tables(results)
    assert "left out: ArrowInvalid" in readme.markdown(results)
    assert "- fails is left out: ArrowInvalid" in readme.markdown(
        {**results, "groups": [found] * 2}
    )
    assert str(tmp_path) not in json.dumps(found)


def test_a_group_that_needs_all_its_cases_ends_with_the_first_that_fails(tmp_path: Path) -> None:
    """A comparison with a revision that does not run would compare nothing."""
    body = make_body("licenses", _BYTES, tmp_path)
    given = {"envelope": str(body.envelope), "engine": "reference"}
    (tmp_path / "old" / "streamlic").mkdir(parents=True)
    (tmp_path / "old/streamlic/__init__.py").write_text("class UsageError(Exception): pass")
    cases = [
        Case(name="this", do="decoders.engine", given=given),
        Case(name="old", do="decoders.engine", given=given, paths=(str(tmp_path / "old"),)),
    ]
    group = Group(part="compare", name="two", about="", cases=cases, base="old", needs_all=True)
    with pytest.raises(SystemExit, match="compare: two: old: ImportError: cannot import name"):
        run_group(group, lambda _: None)


def test_an_engine_is_measured_by_public_names_alone(tmp_path: Path) -> None:
    """Older revisions have the public names, and few of this one's modules."""
    body = make_body("licenses", _BYTES, tmp_path)
    (tmp_path / "old" / "streamlic").mkdir(parents=True)
    (tmp_path / "old/streamlic/__init__.py").write_text(_OLD)
    case = Case(
        name="old",
        do="decoders.engine",
        given={"envelope": str(body.envelope), "engine": "reference"},
        paths=(str(tmp_path / "old"),),
    )
    with Worker(case) as worker:
        assert worker.ask()["rows"] == 7


def test_each_choice_of_the_parquet_writer_writes_every_row(tmp_path: Path) -> None:
    """Its results become a table with a line for each."""
    [licenses, *_] = encoding.groups(QUICK, tmp_path, ExitStack())
    some = ("as streamlic writes", "account and run as strings", "not compressed")
    cases = [case for case in licenses.cases if case.name in some]
    found = run_group(replace(licenses, cases=cases, rounds=1), lambda _: None)
    assert [len(case["rounds"]) for case in found["cases"]] == [1, 1, 1]
    rows = {case["rounds"][0]["rows"] for case in found["cases"]}
    assert len(rows) == 1
    sizes = {case["name"]: figures.file_mb_per_gb(case) for case in found["cases"]}
    assert sizes["not compressed"] > 2 * sizes["as streamlic writes"], "the choice was made"
    results = {"facts": _FACTS, "groups": [found]}
    assert "MB a GB" in report.tables(results)
    assert [line.split(" | ")[0] for line in encoding.markdown(results).splitlines()[4:]] == [
        "| as streamlic writes, a GB of JSON",
        "| account and run as strings",
        "| not compressed",
    ]


def test_ratios_are_formed_within_a_round() -> None:
    """A machine that slows down slows both: the ratio stays."""
    slow = {"rounds": [{"bytes": 10, "seconds": seconds} for seconds in (2.0, 4.0, 8.0)]}
    fast = {"rounds": [{"bytes": 10, "seconds": seconds} for seconds in (1.0, 2.0, 4.0)]}
    assert figures.ratio(fast, slow) == figures.Spread(2.0, 2.0, 2.0)


@pytest.mark.slow
def test_everything_runs_and_writes_its_files(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "benchmarks"]
    subprocess.run(
        [*command, "all", "--quick", "--out", str(tmp_path)], check=True, cwd=ROOT, env=environment
    )
    results = json.loads((tmp_path / "all.json").read_text())
    parts = {group["part"] for group in results["groups"]}
    assert parts == {"parsing", "job", "encoding", "pages", "start", "peers", "scale", "emulator"}
    ours = [
        case
        for group in results["groups"]
        for case in group["cases"]
        if case["name"] in ("reference", "export, reference", "streamlic, reference")
    ]
    assert ours
    assert all(case["rounds"] for case in ours)
    table = subprocess.check_output([*command, "readme", str(tmp_path / "all.json")], cwd=ROOT)
    assert b"| licenses |" in table
    pytest.importorskip("matplotlib")
    for name in ("parsing-throughput", "peers-throughput", "scale-time", "scale-memory"):
        assert (tmp_path / f"{name}.svg").stat().st_size > 0
        assert (tmp_path / f"{name}.png").stat().st_size > 0


_OLD = """
from types import SimpleNamespace
class UsageError(Exception): pass
def open_decoder(*, engine):
    envelope = SimpleNamespace(rows=7)
    return SimpleNamespace(feed=len, close=list, envelope=envelope, engine=engine)
"""
_FACTS: dict[str, Any] = {
    "at": "",
    "machine": {"cpu": "", "cores": 1, "memory_kib": 0},
    "versions": {"python": "", "pyarrow": ""},
    "git": {"commit": None, "is_changed": False},
}
