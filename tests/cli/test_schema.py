"""``streamlic schema`` prints the columns of the part files that a run writes."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from streamlic.dataset.lake import TABLES
from tests.support.cli import run_cli

BODY = b'{"result": [{"id": "1"}]}'


@pytest.fixture(scope="module")
def dest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("schema") / "dest"


async def test_the_columns_are_those_of_the_part_files(dest: Path) -> None:
    body = dest.with_suffix(".json")
    body.write_bytes(BODY)
    assert (await run_cli("convert", str(body), str(dest))).code == 0
    for table in TABLES:
        shown = (await run_cli("schema", "--table", table, "--json")).summary
        written = pq.read_schema(next((dest / table).iterdir()))
        assert shown["table"] == table
        assert [(one["name"], one["type"]) for one in shown["columns"]] == [
            (field.name, str(field.type).replace("<element:", "<item:")) for field in written
        ]


async def test_without_a_table_they_are_those_of_licenses() -> None:
    assert (await run_cli("schema")).out == (await run_cli("schema", "--table", "licenses")).out


async def test_json_columns_are_marked_as_such_and_an_unknown_table_is_refused() -> None:
    lines = (await run_cli("schema", "--table", "runs")).out.splitlines()
    assert f"{'request':24}string (JSON)" in lines
    ended = await run_cli("schema", "--table", "people")
    assert (ended.code, "'accounts', 'runs'" in ended.err) == (2, True)
