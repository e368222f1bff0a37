"""A part file that is missing or damaged is named, on a disk and in a bucket, and exits with 5."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

import streamlic
from streamlic.errors import IntegrityError
from streamlic.storage.open_store import open_store
from tests.support.cli import run_cli
from tests.support.object_servers import MotoServer


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoServer]:
    with MotoServer() as server:
        yield server


@pytest.fixture(params=["disk", "bucket"])
async def dest(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Return a lake of one license."""
    place = str(tmp_path / "lake")
    if request.param == "bucket":
        moto: MotoServer = request.getfixturevalue("moto")
        for name, value in moto.environment.items():
            monkeypatch.setenv(name, value)
        place = moto.dest(f"lake-{uuid4().hex[:12]}")
    body = tmp_path / "body.json"
    body.write_text('{"result": [{"id": "4711", "is_paid": true}]}')
    converted = await run_cli("convert", str(body), place)
    assert converted.code == 0, converted.err
    return place


@pytest.mark.parametrize("damage", ["missing", "truncated", "altered"])
@pytest.mark.parametrize("table", ["licenses", "runs"])
async def test_a_damaged_part_file_is_named(dest: str, damage: str, table: str) -> None:
    store = open_store(dest)
    [name] = store.names(table)
    file = f"{table}/{name}"
    content = store.read(file)
    store.delete(file)
    if damage == "truncated":
        store.create(file, content[:1000])
    if damage == "altered":
        store.create(file, content[:-4] + b"nope")
    with pytest.raises(IntegrityError, match="streamlic verify"):
        streamlic.report(dest)
    for command in ("report", dest), ("sql", dest, f"from {table}"):
        ended = await run_cli(*command)
        assert (ended.code, ended.out) == (5, ""), ended.err
        assert name in ended.err
        assert damage == "altered" or ("is missing" in ended.err) is (damage == "missing")


async def test_a_query_that_is_not_valid_is_the_users_mistake(dest: str) -> None:
    ended = await run_cli("sql", dest, "select nope from licenses")
    assert ended.code == 2
    assert "the query is not valid" in ended.err


async def test_a_directory_for_what_does_not_fit_is_created_or_named(
    dest: str, tmp_path: Path
) -> None:
    query = ("sql", dest, "select count(*) from licenses", "--scratch")
    assert (await run_cli(*query, str(tmp_path / "new/deep"))).code == 0
    ended = await run_cli(*query, "/proc/none")
    assert (ended.code, "--scratch" in ended.err) == (1, True), ended.err
