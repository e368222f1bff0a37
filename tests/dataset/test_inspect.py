"""What inspect tells of a dataset is what reading all of it would tell."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from streamlic.cli.resume_command import add_resume_commands
from streamlic.dataset import inspect as module
from streamlic.dataset.inspect import Inspection, inspect_dataset, published_bytes
from streamlic.dataset.rescue_counts import OTHERS, Rescues, members
from streamlic.emulator import EmulatorConfig, running_emulator
from streamlic.errors import UsageError
from streamlic.job.export import export_async
from streamlic.job.options import JobOptions
from streamlic.reports.inspection import inspection_text
from streamlic.storage.local import LocalStore
from streamlic.truto.client import Connection
from streamlic.truto.credentials import TokenSource
from streamlic.truto.request import LicensesRequest
from streamlic.truto.settings import ConnectionSettings
from tests.support.batches import land
from tests.support.cli import ACCOUNT, OTHER_ACCOUNT, TOKEN, asked, landed, run_cli, start_cli


def inspected(dest: Path) -> Inspection:
    found = inspect_dataset(LocalStore(dest), status_column="status")
    add_resume_commands(str(dest), found.runs)
    return found


@pytest.fixture(scope="module")
def dest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Land two runs, in several part files, of several row groups each."""
    dest = tmp_path_factory.mktemp("inspected") / "dest"

    async def export() -> None:
        async with running_emulator(EmulatorConfig(records=4_000, page_size=500)) as emulator:
            for mode, account in (("error", ACCOUNT), ("append", OTHER_ACCOUNT)):
                connection = Connection(
                    ConnectionSettings(
                        token=TokenSource.from_value(TOKEN), base_url=emulator.url, rate_limit=None
                    )
                )
                options = JobOptions(mode=mode, part_bytes=1, memory_bytes=128 << 20)
                request = LicensesRequest(account=account)
                await export_async(str(dest), [request], connection, options)

    asyncio.run(export())
    return dest


def test_the_runs_are_reported(dest: Path) -> None:
    runs = inspected(dest).runs
    assert [run["complete"] for run in runs] == [True, True]
    assert [run["rows"] for run in runs] == [4_000, 4_000]
    assert [run["pages"] for run in runs] == [8, 8]
    assert {run["mode"] for run in runs} == {"error", "append"}
    assert all(run["resume_command"] is None for run in runs)


def test_rows_files_and_bytes_are_those_of_the_disk(dest: Path) -> None:
    found = inspected(dest)
    files = list(dest.glob("licenses/*.parquet"))
    assert len(files) > 2
    assert (found.rows, found.files) == (8_000, len(files))
    assert found.bytes == sum(file.stat().st_size for file in files)


def test_nulls_are_those_of_the_rows_with_statistics_or_without(dest: Path) -> None:
    table = ds.dataset(dest / "licenses").to_table()
    nulls = {name: table[name].null_count for name in table.column_names}
    assert {column.name: column.nulls for column in inspected(dest).columns} == nulls
    assert 0 < nulls["products"] < 8_000, "a list's nulls are not those of its elements"
    assert 0 < nulls["description"] < 8_000, "it has no statistics"


def test_sizes_are_those_of_the_footers(dest: Path) -> None:
    found = inspected(dest)
    compressed: Counter[str] = Counter()
    uncompressed: Counter[str] = Counter()
    for file in dest.glob("licenses/*.parquet"):
        metadata = pq.read_metadata(file)
        for group in range(metadata.num_row_groups):
            for place in range(metadata.num_columns):
                chunk = metadata.row_group(group).column(place)
                name = chunk.path_in_schema.split(".")[0]
                compressed[name] += chunk.total_compressed_size
                uncompressed[name] += chunk.total_uncompressed_size
    assert {one.name: one.compressed_bytes for one in found.columns} == compressed
    assert {one.name: one.uncompressed_bytes for one in found.columns} == uncompressed
    assert found.compressed_bytes == sum(compressed.values())


def test_an_export_writes_columns_as_its_resource_says(dest: Path) -> None:
    """No dictionary of ids, and no statistics of descriptions."""
    for path in dest.glob("licenses/*.parquet"):
        group = pq.read_metadata(path).row_group(0)
        columns = {one.path_in_schema: one for one in map(group.column, range(group.num_columns))}
        assert not columns["id"].has_dictionary_page
        assert columns["id"].is_stats_set
        assert not columns["description"].is_stats_set
        assert columns["name"].has_dictionary_page


def test_statuses_are_counted(dest: Path) -> None:
    truth = Counter(
        ds.dataset(dest / "licenses").to_table(columns=["status"])["status"].to_pylist()
    )
    assert inspected(dest).statuses == truth
    assert len(truth) > 2


def test_rescues_are_counted_by_pointer_each_with_a_value_that_was_rescued(dest: Path) -> None:
    values: dict[str, list[Any]] = {}
    for text in (
        ds.dataset(dest / "licenses").to_table(columns=["_rescued"])["_rescued"].to_pylist()
    ):
        for pointer, value in json.loads(text or "{}").items():
            values.setdefault(re.sub(r"/\d+(?=/|$)", "/*", pointer), []).append(value)
    rescues = inspected(dest).rescues
    assert {one.pointer: one.count for one in rescues} == {
        pointer: len(those) for pointer, those in values.items()
    }
    assert [one.count for one in rescues] == sorted((len(v) for v in values.values()), reverse=True)
    assert all(json.loads(one.example) in values[one.pointer] for one in rescues)


def test_on_the_screen_no_line_is_wider_than_80_columns(dest: Path) -> None:
    text = inspection_text(inspected(dest), "dest", is_verbose=True)
    assert max(map(len, text.splitlines())) <= 80
    for figure in ("8,000 licenses", "remote_data", "active", "/products/*/sku", "complete"):
        assert figure in text, figure


def test_licenses_accounts_nights_and_vendors_come_first(dest: Path) -> None:
    found = inspected(dest)
    lines = inspection_text(found, "dest").splitlines()
    night = found.nights[-1].started_at[:16].replace("T", " ")
    assert lines[0].startswith("4,000 licenses of 1 account")
    assert lines[0].endswith(f"night of {night} UTC")
    assert lines[1].startswith("dest: 2 nights, 8,000 licenses that readers see, ")
    places = [
        next(place for place, line in enumerate(lines) if line.startswith(start))
        for start in ("night (UTC)", night, "integration", "status", "rescued, by", "columns: ")
    ]
    assert places == sorted(places)
    assert lines[-1].endswith("to 1 (each: --verbose)")
    assert not [line for line in lines if line.startswith("run ")]


def test_without_nulls_only_statuses_and_rescues_are_read(
    dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: set[str] = set()
    batches = pq.ParquetFile.iter_batches

    def watched(file: pq.ParquetFile, **given: Any) -> Any:
        read.update(given["columns"])
        return batches(file, **given)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
    found = inspect_dataset(LocalStore(dest), status_column="status", counts_nulls=False)
    assert read == {"_rescued", "status"}
    whole = inspected(dest)
    assert (found.statuses, found.rescues) == (whole.statuses, whole.rescues)
    assert inspection_text(found, "dest") == inspection_text(whole, "dest")


async def test_as_json_it_is_all_one_object(dest: Path) -> None:
    found = inspected(dest)
    shown = (await run_cli("inspect", str(dest), "--json")).summary
    assert (shown["rows"], len(shown["runs"]), shown["bytes"]) == (8_000, 2, found.bytes)
    assert {one["status"]: one["count"] for one in shown["statuses"]} == found.statuses
    assert shown["rescues"][0]["pointer"] == found.rescues[0].pointer


def test_different_values_are_bounded(dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_VALUES", 2)
    statuses = inspected(dest).statuses
    assert len(statuses) == 3
    assert sum(statuses.values()) == 8_000
    assert statuses[OTHERS] > 0


def test_only_one_column_is_read_at_a_time_and_what_statistics_tell_is_not(
    dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    batches = pq.ParquetFile.iter_batches

    def watched(file: pq.ParquetFile, **given: Any) -> Any:
        [group], [column] = given["row_groups"], given["columns"]
        assert group >= 0
        read.append(column)
        assert given["batch_size"] <= 65_536
        return batches(file, **given)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
    inspected(dest)
    assert set(read) == {
        "description", "remote_data", "_rescued", "status", "products.list.element.id",
        "roles.list.element.id",
    }  # fmt: skip


def test_a_missing_file_is_reported_and_the_others_are_read(tmp_path: Path) -> None:
    run = land(tmp_path, "new")
    gone = run.files[0]
    run.store.path(gone.name).unlink()
    found = inspected(tmp_path)
    assert len(found.problems) == 1
    assert found.problems[0].startswith(f"{gone.name} cannot be read: ")
    assert next(one.nulls for one in found.columns if one.name == "_exported_at") == 0
    assert f"check it: streamlic verify {tmp_path}" in inspection_text(found, str(tmp_path))


def test_a_file_that_is_not_parquet_is_reported(tmp_path: Path) -> None:
    run = land(tmp_path, "new")
    run.store.path(run.files[0].name).write_bytes(b"PAR1")
    assert len(inspected(tmp_path).problems) == 1


def test_what_no_reader_sees_is_not_counted(tmp_path: Path) -> None:
    old = land(tmp_path, "old")
    land(tmp_path, "new", mode="overwrite", pages=2)
    found = inspected(tmp_path)
    assert found.rows == old.rows
    assert {run["mode"]: run["published"] for run in found.runs} == {
        "error": True,
        "overwrite": False,
    }
    assert "not visible to readers yet" in inspection_text(found, str(tmp_path))


def test_a_directory_without_a_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty/_streamlic").mkdir(parents=True)
    (tmp_path / "empty/_streamlic/lock").touch()
    (tmp_path / "file").touch()
    for name, says in [
        ("missing", "there is no lake in {}: it is empty or does not exist"),
        ("file", "expected a directory, got {}, which is a file (dest)"),
        (".", "{} is not a streamlic lake: it has no commit log"),
        ("empty", "{} is not a streamlic lake: it has no run"),
    ]:
        dest = tmp_path / name
        for look in (inspect_dataset, published_bytes):
            with pytest.raises(UsageError) as caught:
                look(LocalStore(dest))
            assert str(caught.value) == says.format(dest)


async def test_the_printed_command_resumes_an_unfinished_run(tmp_path: Path) -> None:
    dest = tmp_path / "it's a directory"
    options = ["--limit", "10", "--exclude-field", "roles", "--remote-query", "a[b]=c d",
               "--query", "truto_super_query=apac", "--ignore-remote-data"]  # fmt: skip
    async with running_emulator(EmulatorConfig(records=2_000, latency_ms=20)) as emulator:
        connection = ["--base-url", emulator.url, "--rate-limit", "none"]
        process = await start_cli(
            "export",
            str(dest),
            "--account",
            ACCOUNT,
            *options,
            *connection,
            "--commit-seconds",
            "0",
        )
        await asked(emulator, 5)
        process.send_signal(signal.SIGTERM)
        await process.communicate()
        [run] = (await run_cli("inspect", str(dest), "--json")).summary["runs"]
        assert run["complete"] is False
        shown = (await run_cli("inspect", str(dest))).out
        assert run["resume_command"] in shown
        program, *args = shlex.split(run["resume_command"])
        ended = await run_cli(*args, *connection, "--json", "--quiet")
    assert program == "streamlic"
    assert ended.code == 0, ended.err
    assert ended.summary["resumed"] is True
    assert ended.summary["complete"] is True
    ids = [row["id"] for row in landed(dest)]
    assert ended.summary["rows"] == len(ids) == len(set(ids)) > 50


# Rescues


def counted(*texts: str) -> dict[str, tuple[int, str]]:
    rescues = Rescues()
    for text in texts:
        rescues.take(text)
    return {one.pointer: (one.count, one.example) for one in rescues.counts()}


def test_indexes_of_arrays_are_counted_together() -> None:
    assert counted('{"/p/0/sku":"a","/p/17/sku":"b"}', '{"/p/3":1}', '{"/p0":2}') == {
        "/p/*/sku": (2, '"a"'),
        "/p/*": (1, "1"),
        "/p0": (1, "2"),
    }


def test_an_example_keeps_its_digits() -> None:
    digits = "1" * 6_000
    assert counted('{"/a":1.10000000000000000001e400}')["/a"][1] == "1.10000000000000000001e400"
    assert counted(f'{{"/a":{digits}}}')["/a"] == (1, "1" * 200 + "...")


def test_pointers_are_bounded() -> None:
    found = counted(*(f'{{"/key{number}":1}}' for number in range(1_100)))
    assert len(found) == 1_001
    assert found[OTHERS] == (100, "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", {}),
        (' { "a" : [1, {"b": "}"}] , "c":null } ', {"a": '[1, {"b": "}"}]', "c": "null"}),
        (r'{"a\"b": "\u00e9", "": -0.0}', {'a"b': r'"\u00e9"', "": "-0.0"}),
    ],
)
def test_members_keep_their_text(text: str, expected: dict[str, str]) -> None:
    assert members(text) == expected


def test_an_invalid_rescue_is_a_problem_of_its_file(tmp_path: Path) -> None:
    run = land(tmp_path, "new")
    path = run.store.path(run.files[0].name)
    pq.write_table(pa.table({"_rescued": ["[1]"]}), path)
    [problem] = inspected(tmp_path).problems
    assert "expected an object in _rescued, got list" in problem
