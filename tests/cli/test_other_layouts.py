"""A lake that another version wrote is refused with the same line by every command, and kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamlic.dataset.lake import TABLES
from streamlic.dataset.records import json_bytes
from tests.support.batches import land
from tests.support.cli import ACCOUNT, run_cli


@pytest.fixture(params=["part files in DEST", "tables"])
def dest(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Return a lake of version 4 of the log, with the part files where that had them, or not."""
    dest = tmp_path / "lake"
    run = land(dest, "old", accounts=["a"])
    place = run.store.path(f"{run.directory}/request.json")
    body = json.loads(place.read_bytes())
    del body["sha256"], body["key"], body["publish"], body["details"]
    place.write_bytes(json_bytes({**body, "version": 4}))
    if request.param != "tables":
        for path in dest.glob("*/*.parquet"):
            path.rename(dest / f"{path.parent.name}-{path.name}")
        for table in TABLES:
            (dest / table).rmdir()
    return dest


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
    assert line.startswith("streamlic: run ")
    assert line.endswith(
        "was written by another version of streamlic, whose lake has another layout; choose a new "
        "DEST and export again"
    )
    assert sorted(path for path in dest.rglob("*") if "lock" not in path.name) == before
