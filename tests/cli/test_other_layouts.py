"""A lake that another version wrote is refused with the same line by every command, and kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamlic.dataset.lake import RECORDS, TABLES
from streamlic.dataset.records import VERSION, json_bytes, parsed
from tests.support.batches import land
from tests.support.cli import ACCOUNT, run_cli


@pytest.fixture(params=["part files in DEST", "tables", "a newer log"])
def dest(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Return a lake that had a log for each run, or whose log has records of another version."""
    dest = tmp_path / "lake"
    run = land(dest, "old", accounts=["a"])
    if request.param == "a newer log":
        place = run.store.path(f"{RECORDS}/00000001.json")
        body = parsed(place.read_bytes(), "")
        place.write_bytes(json_bytes({**body, "version": VERSION + 1}))
        return dest
    run.store.delete_tree(RECORDS)
    run.store.create(f"_streamlic/{run.id}/request.json", json_bytes({"version": 4}))
    if request.param != "tables":
        for path in dest.glob("*/*.parquet"):
            path.rename(dest / f"{path.parent.name}-{path.name}")
        for table in TABLES:
            (dest / table).rmdir()
    return dest


async def test_the_doctor_says_that_an_export_would_be_refused(dest: Path) -> None:
    before = sorted(path for path in dest.rglob("*"))
    ended = await run_cli("doctor", str(dest), "--offline", "--json")
    [check] = (one for one in ended.summary["checks"] if one["name"] == "dest")
    assert (ended.code, check["state"], check["exit_code"]) == (2, "failed", 2)
    assert "was written by another version of streamlic" in check["found"]
    assert check["advice"] == "choose a new DEST and export again"
    assert sorted(path for path in dest.rglob("*")) == before


@pytest.mark.parametrize("output", [[], ["--json"]])
@pytest.mark.parametrize(
    "command",
    [
        ["verify", "lake"],
        ["inspect", "lake"],
        ["head", "lake"],
        ["convert", "body.json", "lake", "--mode", "append"],
        ["export", "lake", "--account", ACCOUNT, "--mode", "overwrite"],
    ],
    ids=lambda one: one[0],
)
async def test_it_is_refused_with_one_line_that_says_what_to_do(
    dest: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], output: list[str]
) -> None:
    monkeypatch.chdir(dest.parent)
    Path("body.json").write_text('{"result": []}')
    before = sorted(path for path in dest.rglob("*") if "lock" not in path.name)
    ended = await run_cli(*command, *output)
    assert (ended.code, ended.out) == (2, "")
    [line] = ended.err.splitlines()
    assert line == (
        "streamlic: the lake was written by another version of streamlic, whose log has another "
        "layout; choose a new DEST and export again"
    )
    assert sorted(path for path in dest.rglob("*") if "lock" not in path.name) == before
