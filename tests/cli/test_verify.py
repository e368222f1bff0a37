"""``verify`` and ``inspect`` of lakes that are damaged, half published, or not there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.dataset.test_verify import promise
from tests.support.batches import land
from tests.support.cli import run_cli


async def converted(tmp_path: Path, *more: str) -> int:
    """Convert a body of one license into a lake; return the exit code."""
    body = tmp_path / "body.json"
    body.write_text('{"result": [{"id": "4711"}]}')
    return (await run_cli("convert", str(body), str(tmp_path / "lake"), "--quiet", *more)).code


async def test_a_damaged_part_file_hides_no_damaged_table(tmp_path: Path) -> None:
    assert await converted(tmp_path, "--format", "delta") == 0
    lake = tmp_path / "lake"
    [part] = (lake / "accounts").glob("*.parquet")
    part.unlink()
    shutil.rmtree(lake / "licenses/_delta_log")
    ended = await run_cli("verify", str(lake), "--json")
    assert ended.code == 5
    problems = json.loads(ended.out)["problems"]
    assert f"accounts/{part.name}: missing" in problems
    assert any(one.startswith("licenses") for one in problems)


@pytest.mark.parametrize("name", ["no-lake", "empty", "others"])
async def test_a_place_without_a_lake_is_a_mistake_as_everywhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "others").mkdir()
    (tmp_path / "others/file.txt").touch()
    for command in ("verify", "inspect", "report"):
        ended = await run_cli(command, str(tmp_path / name))
        assert (ended.code, ended.out) == (2, ""), command
        assert ("there is no lake in" in ended.err) is (name != "others")


async def test_inspect_says_that_readers_do_not_see_what_was_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the credentials for the table's log, or its catalog, ended with the export."""
    promise(tmp_path, monkeypatch)
    inspected = await run_cli("inspect", str(tmp_path))
    words = " ".join(inspected.out.split())
    assert "that readers see" not in words
    assert "note: run" in words
    assert "was interrupted while it was published" in words
    assert "the next export into this lake, of whatever mode, completes it first" in words
    found = (await run_cli("inspect", str(tmp_path), "--json")).summary
    assert "was interrupted" in found["interrupted"]


async def test_a_damaged_log_names_its_lake_and_what_to_do(tmp_path: Path) -> None:
    assert await converted(tmp_path) == 0
    lake = tmp_path / "lake"
    records = sorted((lake / "_streamlic/log").iterdir())
    records[1].unlink()
    for command in ("inspect", "report", "compact"):
        ended = await run_cli(command, str(lake))
        assert ended.code == 5, command
        assert f"the log of {lake} is damaged: " in ended.err
        assert "restore the file, for example from a backup" in ended.err
    ended = await run_cli("verify", str(lake))
    assert (ended.code, f"the log of {lake} is damaged" in ended.out) == (5, True)


async def test_an_unfinished_conversion_needs_no_connection(tmp_path: Path) -> None:
    body = {"source": "body.json", "ndjson": None, "raw": False}
    land(tmp_path / "converted", "one", pages=1, request=body)
    land(tmp_path / "exported", "one", pages=1)
    for name, says in (("converted", "to resume:"), ("exported", "to resume, with the connection")):
        shown = await run_cli("inspect", str(tmp_path / name))
        assert says in shown.out, shown.out


async def test_one_account_that_was_not_read_is_one(tmp_path: Path) -> None:
    land(tmp_path, "one", failing={"account-a": 0})
    assert "\n1 account was not read: see --html\n" in (await run_cli("report", str(tmp_path))).out
