"""``streamlic head``: the first rows of bodies, lakes and part files, and no more than those."""

from __future__ import annotations

import itertools
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.cells import cell_len

from streamlic import decoder
from streamlic.dataset.lake import TABLES
from tests.support.batches import LocalRun, land
from tests.support.cli import Ended, run_cli, run_process
from tests.support.terminal import show_cli

RECORDS = [
    {"id": str(number), "name": f"Plan {number}", "available_quantity": number, "seats": 5}
    for number in range(50)
]
BODY = json.dumps({"result": RECORDS}).encode()


async def rows_of(*args: object) -> list[dict[str, Any]]:
    ended = await run_cli("head", *map(str, args), "--json")
    assert (ended.code, ended.err) == (0, "")
    return [json.loads(line) for line in ended.out.splitlines()]


@pytest.fixture(scope="module", autouse=True)
def _runs_of_one_second_are_in_order() -> Iterator[None]:
    """Give the runs ids whose random part grows."""
    numbers = itertools.count()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(secrets, "token_hex", lambda _: f"{next(numbers):08x}")
        yield


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LocalRun, LocalRun]:
    """Land two runs of several part files and row groups."""
    dest = tmp_path_factory.mktemp("head") / "lake"
    return (
        dest,
        land(dest, "old", accounts=["a", "b"]),
        land(dest, "new", mode="append", accounts=["b", "c"]),
    )


@pytest.fixture
def body(tmp_path: Path) -> Path:
    path = tmp_path / "body.json"
    path.write_bytes(BODY)
    return path


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, list[str], int]]:
    """Return what is read of part files: row group, columns, rows a batch."""
    found: list[tuple[int, list[str], int]] = []
    """Without single rows, which say how large a row group is in memory."""
    batches = pq.ParquetFile.iter_batches

    def watched(file: pq.ParquetFile, size: int, **given: Any) -> Any:
        if size > 1:
            found.append((given["row_groups"][0], sorted(given["columns"]), size))
        return batches(file, size, **given)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
    return found


# Lakes


async def test_the_newest_run_comes_first(lake: tuple[Path, LocalRun, LocalRun]) -> None:
    dest, old, new = lake
    assert {row["_run"] for row in await rows_of(dest)} == {new.id}
    rows = await rows_of(dest, "--rows", 10_000)
    assert [row["_run"] for row in rows] == [new.id] * new.rows + [old.id] * old.rows


@pytest.mark.parametrize("table", TABLES)
async def test_each_table_is_shown(lake: tuple[Path, LocalRun, LocalRun], table: str) -> None:
    dest = lake[0]
    written = pq.read_table(dest / table)
    rows = await rows_of(dest, "--table", table, "--rows", 10_000)
    assert len(rows) == written.num_rows
    assert list(rows[0]) == written.column_names
    shown = (await run_cli("head", str(dest), "--table", table)).out
    least = min(10, written.num_rows)
    assert f"{least} of {written.num_rows:,} rows of {table}, newest run first" in shown


async def test_rows_of_one_run_and_of_one_account_are_found(
    lake: tuple[Path, LocalRun, LocalRun],
) -> None:
    dest, old, _ = lake
    rows = await rows_of(dest, "--run", old.id, "--rows", 10_000)
    assert {row["_run"] for row in rows} == {old.id}
    assert len(rows) == old.rows
    rows = await rows_of(dest, "--where-account", "a", "--rows", 10_000)
    assert {(row["_run"], row["integrated_account_id"]) for row in rows} == {(old.id, "a")}
    assert len(rows) == old.rows // 2
    assert await rows_of(dest, "--where-account", "nobody") == []
    assert "0 rows of licenses" in (await run_cli("head", str(dest), "--where-account", "x")).out


async def test_the_newest_run_with_a_key_is_meant(tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_bytes(BODY)
    for key in ("monday", "tuesday"):
        args = ["convert", str(body), str(tmp_path / "lake"), "--mode", "append", "--run-key", key]
        assert (await run_cli(*args)).code == 0
    rows = await rows_of(tmp_path / "lake", "--run", "monday", "--rows", 1_000)
    runs = await rows_of(tmp_path / "lake", "--table", "runs")
    assert [run["run_key"] for run in runs] == ["tuesday", "monday"]
    assert {row["_run"] for row in rows} == {runs[1]["_run"]}
    assert len(rows) == len(RECORDS)


async def test_no_more_is_read_than_the_rows_need(
    lake: tuple[Path, LocalRun, LocalRun], read: list[tuple[int, list[str], int]]
) -> None:
    await rows_of(lake[0], "--rows", 3, "--columns", "name,id")
    assert read == [(0, ["id", "name"], 3)]


async def test_row_groups_without_the_account_are_not_read(
    lake: tuple[Path, LocalRun, LocalRun], read: list[tuple[int, list[str], int]]
) -> None:
    dest = lake[0]
    holding = 0
    groups = 0
    for path in dest.glob("licenses/*.parquet"):
        file = pq.ParquetFile(path)
        for number in range(file.num_row_groups):
            column = file.read_row_group(number, columns=["integrated_account_id"]).column(0)
            groups += 1
            holding += "a" in column.to_pylist()
    await rows_of(dest, "--where-account", "a", "--columns", "id", "--rows", 10_000)
    assert len(read) == holding < groups
    assert {tuple(columns) for _, columns, _ in read} == {("id", "integrated_account_id")}


async def test_an_unfinished_run_is_named_where_readers_see_no_row(tmp_path: Path) -> None:
    run = land(tmp_path, "new", pages=2)
    ended = await run_cli("head", str(tmp_path))
    assert ended.code == 0
    assert f"run {run.id} is not complete, so readers do not see its rows yet" in " ".join(
        ended.out.split()
    )


async def test_a_replaced_run_says_why_it_has_no_licenses(tmp_path: Path) -> None:
    old = land(tmp_path, "old")
    land(tmp_path, "new", mode="overwrite")
    out = (await run_cli("head", str(tmp_path), "--run", old.id)).out
    assert f"run {old.id} was replaced by a later one, which has none of its licenses" in " ".join(
        out.split()
    )
    assert len(await rows_of(tmp_path, "--run", old.id, "--table", "runs")) == 1


async def test_a_lake_of_other_columns_in_older_runs_has_nulls_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Licenses may get columns in a later version."""
    monkeypatch.setattr("streamlic.tables.runs.check_same_table", lambda *_: None)
    body = tmp_path / "body.json"
    body.write_bytes(BODY)
    for raw in (["--raw"], []):
        args = ["convert", str(body), str(tmp_path / "lake"), "--mode", "append", *raw]
        assert (await run_cli(*args)).code == 0
    rows = await rows_of(tmp_path / "lake", "--rows", 1_000)
    assert [row["name"] for row in rows] == [one["name"] for one in RECORDS] + [None] * len(RECORDS)


async def test_a_missing_part_file_is_one_line(tmp_path: Path) -> None:
    run = land(tmp_path, "new")
    for file in run.license_files:
        run.store.path(file.name).unlink()
    ended = await run_cli("head", str(tmp_path))
    assert (ended.code, ended.out, ended.err.count("\n")) == (5, "", 1)
    assert "is missing: check it with streamlic verify" in ended.err


# Part files


async def test_a_parquet_file_is_shown_of_the_lake_or_not(
    lake: tuple[Path, LocalRun, LocalRun], tmp_path: Path
) -> None:
    part = min(lake[0].glob("licenses/*.parquet"))
    assert len(await rows_of(part, "--rows", 4)) == 4
    assert await rows_of(part, "--where-account", "nobody") == []
    other = tmp_path / "other"
    pq.write_table(pa.table({"seats": [1, 2], "when": ["x", None]}), other)
    assert await rows_of(other) == [{"seats": 1, "when": "x"}, {"seats": 2, "when": None}]
    assert "seats  when" in (await run_cli("head", str(other))).out


# Bodies


@pytest.mark.parametrize("engine", ["fast", "reference"])
async def test_a_body_is_shown(body: Path, engine: str) -> None:
    rows = await rows_of(body, "--rows", 3, "--engine", engine)
    assert [(row["id"], row["name"], row["_rescued"]) for row in rows] == [
        (str(number), f"Plan {number}", {"/seats": 5}) for number in range(3)
    ]
    assert len(await rows_of(body, "--rows", 1_000, "--engine", engine)) == len(RECORDS)
    table = (await run_cli("head", str(body), "--engine", engine)).out
    assert "Plan 9" in table
    assert "Plan 10" not in table
    assert "10 rows" in table.splitlines()


@pytest.mark.parametrize(
    ("name", "data", "options"),
    [
        ("b.ndjson", b'{"id": "1"}\n{"id": "2"}\n', []),
        ("b", b'{"id": "1"}\n{"id": "2"}\n', ["--lines"]),
        ("b", b'[{"id": "1"}, {"id": "2"}]', []),
        ("b", b'{"data": {"items": [{"id": "1"}, {"id": "2"}]}}', ["--rows-at", "data.items"]),
        ("b", b'{"result": {"1": {}, "2": {}}}', ["--key-by", "id"]),
    ],
)
async def test_a_body_is_read_as_convert_reads_it(
    tmp_path: Path, name: str, data: bytes, options: list[str]
) -> None:
    (tmp_path / name).write_bytes(data)
    rows = await rows_of(tmp_path / name, *options)
    assert [row["id"] for row in rows] == ["1", "2"]


async def test_raw_records_are_shown_whole(body: Path) -> None:
    rows = await rows_of(body, "--raw", "--rows", 1)
    assert rows == [{"key": None, "record": RECORDS[0]}]


@pytest.mark.parametrize("engine", ["fast", "reference"])
@pytest.mark.parametrize("output", [[], ["--json"]])
def test_a_pipe_without_an_end_is_left_after_the_rows(engine: str, output: list[str]) -> None:
    """Also one that is silent after them: the last row is shown while the pipe is open."""
    command = [sys.executable, "-m", "streamlic", "head", "-", "--rows", "3", "--engine", engine]
    with subprocess.Popen(
        [*command, *output], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write('{"result": [' + '{"id": "x", "name": "Plan"},' * 3)
        process.stdin.flush()
        assert process.stdout.read().count("Plan") == 3
        assert process.wait() == 0


@pytest.mark.parametrize("output", [[], ["--json"]])
async def test_rows_before_an_error_are_shown(tmp_path: Path, output: list[str]) -> None:
    (tmp_path / "cut").write_bytes(BODY[:300])
    ended = await run_cli("head", str(tmp_path / "cut"), *output)
    assert ended.code == 5
    assert ended.err.count("\n") == 1
    assert "ended before its JSON was complete" in ended.err
    assert "Plan 2" in ended.out
    assert "Plan 9" not in ended.out


async def test_few_batches_are_decoded_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch of one row takes kilobytes, and a large chunk has many small records."""
    (tmp_path / "b.ndjson").write_bytes(b"{}\n" * 100_000)
    fed: list[int] = []
    opened = decoder.open_decoder

    class Watched:
        def __init__(self, *args: Any, **given: Any) -> None:
            self._decoder = opened(*args, **given)

        def feed(self, chunk: bytes) -> list[pa.RecordBatch]:
            batches = self._decoder.feed(chunk)
            fed.append(len(batches))
            return batches

    monkeypatch.setattr(decoder, "open_decoder", Watched)
    assert len(await rows_of(tmp_path / "b.ndjson", "--rows", 1_000)) == 1_000
    assert max(fed) < 500
    assert sum(fed) * 100 < 2 * 100_000, "and not the whole body"


# What is shown


async def test_columns_are_chosen_in_their_order(lake: tuple[Path, LocalRun, LocalRun]) -> None:
    dest = lake[0]
    [row] = await rows_of(dest, "--columns", "name, id,name", "--rows", 1)
    assert list(row) == ["name", "id"]
    lines = (await run_cli("head", str(dest), "--columns", "name,id")).out.splitlines()
    assert lines[0].split() == ["name", "id"]
    everything = (await run_cli("head", str(dest), "--columns", "all", "--rows", "1")).out
    assert all(f"  {name} " in everything for name in row)
    assert everything.startswith("row 1\n"), "there is no room for all of them in 80 columns"
    default = (await run_cli("head", str(dest))).out
    assert "columns not shown (--columns all): " in default
    assert "remote_data" not in default.splitlines()[0]


async def test_what_the_data_holds_does_not_reach_a_terminal(tmp_path: Path) -> None:
    evil = "\x1b]0;pwned\x07\x9b31m\u202e"
    (tmp_path / "b").write_text(json.dumps({"result": [{"id": evil, "name": evil, "x": evil}]}))
    for output in ([], ["--columns", "all"], ["--json"]):
        out = (await run_cli("head", str(tmp_path / "b"), *output)).out
        assert "pwned" in out
        assert out.replace("\n", "").isprintable()


async def test_lines_fit_a_terminal_and_have_no_colours_in_a_pipe(
    lake: tuple[Path, LocalRun, LocalRun],
) -> None:
    shown = await show_cli("head", str(lake[0]), columns=61)
    assert shown.code == 0
    assert max(cell_len(line) for line in shown.lines) <= 61
    wide = await run_cli("head", str(lake[0]), COLUMNS="150")
    assert max(map(cell_len, wide.out.splitlines())) > 80
    assert "\x1b" not in wide.out


# Mistakes


def says(ended: Ended, text: str) -> bool:
    return (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1) and text in ended.err


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["missing"], "missing cannot be read: No such file or directory"),
        (["empty"], "there is no lake in empty"),
        (["body", "--columns", "seats,name"], "no column seats: the columns are id, name, "),
        (["body", "--columns", ","], "expected columns, got none: they are id, name, "),
        (["lake", "--columns", "x,y"], "no columns x, y: the columns are integrated_account_id, "),
        (["body", "--table", "runs"], "--table needs a lake, and body is a saved body"),
        (["body", "--where-account", "a"], "--where-account needs a lake"),
        (["body", "--raw", "--key-by", "id"], "--key-by excludes --raw"),
        (["body", "--rows-at", "a..b"], "expected a dotted path"),
        (["lake", "--raw"], "--raw needs a saved body, and lake is a directory"),
        (["lake/runs"], "lake/runs is a table of a lake: streamlic head /"),
        (["lake/runs"], "lake --table runs"),
        (["lake", "--run", "no"], "no run no that readers see: the newest are 2"),
        (["part", "--run", "x"], "--run needs a lake, and part is a Parquet file"),
        (["part", "--no-lines"], "--lines needs a saved body, and part is a Parquet file"),
        (["part", "--where-account", "a"], "part has no column integrated_account_id"),
        (["truncated"], "cannot be read"),
    ],
)
async def test_a_mistake_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("body").write_bytes(BODY)
    Path("truncated").write_bytes(b"PAR1....PAR1")
    pq.write_table(pa.table({"x": [1]}), "part")
    if args[0].startswith("lake"):
        land(Path("lake"), "new")
    ended = await run_cli("head", *args)
    if args == ["truncated"]:
        ended.code -= 3  # The file is damaged, and the caller is right.
    assert says(ended, text), ended


def test_parquet_on_standard_input_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "part")
    with (tmp_path / "part").open("rb") as file:
        ended = subprocess.run(
            [sys.executable, "-m", "streamlic", "head", "-"],
            stdin=file, capture_output=True, text=True, check=False, env=os.environ,
        )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "standard input is a Parquet file: give the name of the file" in ended.stderr


async def test_a_setting_for_another_kind_of_source_is_ignored(
    lake: tuple[Path, LocalRun, LocalRun],
) -> None:
    """Only an option of the command line is meant for this source."""
    ended = await run_cli("head", str(lake[0]), STREAMLIC_ROWS_AT="data")
    assert ended.code == 0


async def test_standard_input_is_read(body: Path) -> None:
    ended = await run_process("head", "-", "--rows", "1", "--json", stdin=body.read_bytes())
    assert json.loads(ended.out)["name"] == "Plan 0"
