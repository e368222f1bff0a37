"""Where a lake lives and how its tables are shown: options that do not go together are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest

import streamlic
from streamlic.cli.commands import cli
from streamlic.cli.jobs import job_options_of
from streamlic.cli.settings import ConvertSettings
from streamlic.dataset.commit_log import load_lake
from streamlic.storage.local import LocalStore
from streamlic.tables import table_options
from tests.support.cli import ACCOUNT, files_of, run_cli

NOWHERE = "http://127.0.0.1:9"
BODY = b'{"result":[{"id":"a"}]}'
MIB = 1 << 20
REFUSED: list[tuple[list[str], str]] = [
    (["--partition-by", "export_date"], "plain Parquet has no partitions"),
    (["--catalog", "lake"], "a catalog is for Iceberg tables, and the format is parquet"),
    (["--format", "delta", "--catalog", "lake"], "the format is delta"),
    (["--format", "iceberg"], "Iceberg needs a catalog"),
    (["--format", "iceberg", "--catalog", "a..b"], "expected NAME or NAME.NAMESPACE, got 'a..b'"),
    (["--format", "iceberg", "--catalog", "a", "--memory", "191MiB"], "at least 192MiB of memory"),
    (["--take-over"], "a lake on a local disk needs no takeover"),
]


@pytest.mark.parametrize(("args", "says"), REFUSED, ids=str)
async def test_what_does_not_go_together_is_refused_before_anything_is_read(
    tmp_path: Path, args: list[str], says: str
) -> None:
    dest = tmp_path / "lake"
    converted = await run_cli("convert", "-", str(dest), *args, stdin=BODY)
    exported = await run_cli(
        "export", str(dest), "--account", ACCOUNT, "--base-url", NOWHERE, *args
    )
    for ended in (converted, exported):
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
        assert says in ended.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"format": "csv"}, "format"),
        ({"partition_by": "tenant"}, "partition_by"),
        ({"format": "delta", "catalog": "lake"}, "catalog"),
        ({"format": "iceberg", "catalog": ""}, "catalog"),
        ({"format": "iceberg", "catalog": "a", "memory_bytes": 128 * MIB}, "memory_bytes"),
    ],
)
def test_python_names_the_parameter(given: dict[str, Any], name: str) -> None:
    with pytest.raises(streamlic.UsageError, match=rf"\({name}\)($|; )") as raised:
        streamlic.JobOptions(**given)
    assert raised.value.parameter == name


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"partition_by": "export_date"}, "partition_by"),
        ({"catalog": "lake"}, "catalog"),
        ({"format": "iceberg"}, "catalog"),
    ],
)
def test_what_a_new_lake_lacks_is_named_where_it_would_be(
    tmp_path: Path, given: dict[str, Any], name: str
) -> None:
    options = streamlic.JobOptions(**given)
    with pytest.raises(streamlic.UsageError, match=rf"\({name}\)($|; )") as raised:
        options.open_store(str(tmp_path / "lake"))
    assert raised.value.parameter == name


@pytest.mark.parametrize(
    ("given", "library", "extra"),
    [
        ({"format": "delta"}, "deltalake", "delta"),
        ({"format": "iceberg", "catalog": "lake.licenses"}, "pyiceberg", "iceberg"),
    ],
)
def test_a_missing_library_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], library: str, extra: str
) -> None:
    """That a library is missing is simulated: the tests need it elsewhere."""
    monkeypatch.setattr(table_options, "find_spec", lambda _: None)
    with pytest.raises(streamlic.UsageError) as raised:
        streamlic.JobOptions(**given)
    assert f"{library} is not installed: pip install '.[{extra}]'" in str(raised.value)


def test_a_format_and_a_place_reach_the_job() -> None:
    options = parsed("--format", "iceberg", "--catalog", "lake.daily", "--scratch", "/scratch",
                     "--partition-by", "export_date", "--take-over")  # fmt: skip
    assert (options.format, options.catalog) == ("iceberg", "lake.daily")
    assert (options.partition_by, options.take_over) == ("export_date", True)
    settings = options.store_settings
    assert (settings.scratch, settings.takes_over) == ("/scratch", True)


def test_none_overrides_a_partition_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMLIC_PARTITION_BY", "export_date")
    assert parsed("--format", "delta").partition_by == "export_date"
    assert parsed("--partition-by", "none").partition_by == "none"


DIFFERENT: list[tuple[list[str], list[str], str, str]] = [
    (["--format", "delta", "--partition-by", "export_date"], ["--partition-by", "none"],
     "is partitioned by export_date, and was asked for none", "--partition-by"),
    (["--format", "delta"], ["--partition-by", "export_date"],
     "is not partitioned, and was asked for export_date", "--partition-by"),
    (["--format", "delta"], ["--format", "parquet"],
     "is a lake of delta tables, and was asked for parquet", "--format"),
    (["--format", "delta"], ["--catalog", "prod"],
     "is a lake in no catalog, and was asked for the catalog prod", "--catalog"),
    (["--format", "iceberg", "--catalog", "prod"], ["--catalog", "prod.other"],
     "is a lake in the catalog prod, and was asked for the catalog prod.other", "--catalog"),
    ([], ["--partition-by", "export_date"],
     "is not partitioned, and was asked for export_date", "--partition-by"),
]  # fmt: skip


@pytest.fixture
def sql_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configure a catalog of the name prod."""
    monkeypatch.setenv("PYICEBERG_CATALOG__PROD__URI", f"sqlite:///{tmp_path}/catalog.db")


@pytest.mark.usefixtures("sql_catalog")
@pytest.mark.parametrize(("first", "then", "says", "option"), DIFFERENT, ids=str)
async def test_an_option_that_differs_from_the_lakes_is_named_and_nothing_is_replaced(
    tmp_path: Path, first: list[str], then: list[str], says: str, option: str
) -> None:
    dest, body = str(tmp_path / "lake"), tmp_path / "body.json"
    body.write_bytes(BODY)
    before = await run_cli("convert", str(body), dest, "--run-key", "a", *first)
    assert before.code == 0, before.err
    files = files_of(tmp_path)
    more = ["--mode", "append", "--run-key", "b", *then]
    commands = [
        await run_cli("convert", str(body), dest, *more),
        await run_cli("export", dest, "--account", ACCOUNT, "--base-url", NOWHERE, *more),
        await run_cli("doctor", dest, "--base-url", NOWHERE, *then, "--json"),
    ]
    for ended in commands[:2]:
        assert (ended.code, ended.out) == (2, "")
        assert f"{dest} {says}" in ended.err
        assert f"leave {option} out, or choose another DEST" in ended.err
    [found] = [one for one in json.loads(commands[2].out)["checks"] if one["name"] == "format"]
    assert (found["state"], found["exit_code"]) == ("failed", 2)
    assert says in found["found"]
    assert [run.key for run in load_lake(LocalStore(dest)).oldest_first] == ["a"]
    assert {*files} <= {*files_of(tmp_path)}


@pytest.mark.usefixtures("sql_catalog")
@pytest.mark.parametrize(
    ("first", "then"),
    [
        (["--format", "delta", "--partition-by", "export_date"],
         ["--partition-by", "export_date"]),
        (["--format", "delta", "--partition-by", "export_date"], ["--format", "delta"]),
        (["--format", "delta"], ["--partition-by", "none"]),
        (["--format", "iceberg", "--catalog", "prod"], ["--catalog", "prod"]),
        (["--format", "iceberg", "--catalog", "prod"], ["--format", "iceberg"]),
        (["--format", "iceberg", "--catalog", "prod"], []),
        ([], ["--partition-by", "none"]),
    ],
    ids=str,
)  # fmt: skip
async def test_an_option_that_is_left_out_is_the_lakes_own(
    tmp_path: Path, first: list[str], then: list[str]
) -> None:
    dest, body = str(tmp_path / "lake"), tmp_path / "body.json"
    body.write_bytes(BODY)
    for options in (first, ["--mode", "append", *then]):
        ended = await run_cli("convert", str(body), dest, *options)
        assert ended.code == 0, ended.err
    lake = load_lake(LocalStore(dest))
    assert len(lake.runs) == 2
    assert len({run.format for run in lake.runs.values()}) == 1


def test_a_takeover_is_for_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a setting it would take a lake from every writer that is at work."""
    monkeypatch.setenv("STREAMLIC_CONVERT_TAKE_OVER", "1")
    assert not parsed().take_over


@pytest.mark.parametrize(("memory_bytes", "upload_bytes"), [(128, 16), (256, 48), (4096, 64)])
def test_an_upload_takes_a_share_of_the_memory(memory_bytes: int, upload_bytes: int) -> None:
    options = streamlic.JobOptions(memory_bytes=memory_bytes * MIB)
    assert options.store_settings.upload_bytes == upload_bytes * MIB


def parsed(*args: str) -> streamlic.JobOptions:
    """Return the options of the job of a conversion, as the command line makes them."""
    group = click.Context(cli, info_name="streamlic")
    with cli.commands["convert"].make_context("convert", ["-", "lake", *args], group) as context:
        return job_options_of(ConvertSettings(**context.params))
