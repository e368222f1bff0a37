"""Every command that takes DEST takes the URL of an object store (moto's S3)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

import streamlic
from streamlic.emulator import EmulatorConfig, running_emulator
from tests.support.cli import ACCOUNT, TOKEN, export_args, run_cli
from tests.support.object_servers import MotoServer


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoServer]:
    """Yield a running server."""
    with MotoServer() as server:
        yield server


@pytest.fixture
def dest(moto: MotoServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return an empty DEST on a server, and set the environment that reaches it."""
    for name, value in moto.environment.items():
        monkeypatch.setenv(name, value)
    return moto.dest(f"lake-{uuid4().hex[:12]}")


async def test_a_lake_is_exported_verified_inspected_and_looked_into(
    dest: str, moto: MotoServer, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    async with running_emulator(EmulatorConfig(records=50, token=TOKEN)) as emulator:
        args = ["export", dest, *export_args(tmp_path, emulator.url)[2:]]
        exported = await run_cli(*args, "--scratch", str(scratch))
    assert exported.code == 0, exported.err
    assert exported.summary["complete"]
    assert not list(scratch.rglob("*part*"))
    assert (await run_cli("verify", dest)).code == 0
    inspected = await run_cli("inspect", dest, "--json")
    assert (inspected.summary["rows"], inspected.summary["dest"]) == (50, dest)
    shown = await run_cli("head", dest, "--json", "--rows", "3")
    assert len([json.loads(line) for line in shown.out.splitlines()]) == 3


async def test_head_reads_one_parquet_file_and_refuses_the_directory_of_a_table(
    dest: str, moto: MotoServer, tmp_path: Path
) -> None:
    (tmp_path / "body.json").write_text('{"result": [{"id": "4711"}]}')
    converted = await run_cli("convert", str(tmp_path / "body.json"), dest)
    assert converted.code == 0, converted.err
    assert f"read:    streamlic head {dest}" in converted.out
    [key] = (one for one in moto.keys(dest.rpartition("/")[2]) if "/licenses/" in one)
    part = dest.rpartition("/")[0] + "/" + key
    shown = await run_cli("head", part, "--json")
    assert json.loads(shown.out)["id"] == "4711"
    for args in ([part, "--table", "runs"], [part, "--rows-at", "x"], [dest, "--raw"]):
        refused = await run_cli("head", *args)
        assert (refused.code, refused.err.count("\n")) == (2, 1)
    table = await run_cli("head", f"{dest}/licenses")
    assert f"streamlic head {dest} --table licenses" in table.err
    assert table.code == 2
    absent = await run_cli("head", f"{dest}/absent")
    assert (absent.code, absent.err.count("\n")) == (2, 1)
    gone = await run_cli("head", f"{dest}/absent.parquet")
    assert (gone.code, gone.err.count("\n")) == (2, 1)
    assert "there is no such file" in gone.err


async def test_python_takes_a_url_and_resumes_a_key_there(dest: str, tmp_path: Path) -> None:
    async with running_emulator(EmulatorConfig(records=20, token=TOKEN)) as emulator:
        connection = streamlic.ConnectionSettings(token=TOKEN, base_url=emulator.url)
        options = streamlic.JobOptions(run_key="night", scratch=str(tmp_path))
        for is_repeated in (False, True):
            summary = await asyncio.to_thread(
                streamlic.export, dest, ACCOUNT, connection=connection, options=options
            )
            assert (summary.rows, summary.repeated) == (20, is_repeated)
    assert not list(tmp_path.rglob("*part*"))


async def test_what_cannot_be_a_bucket_is_refused_by_every_command(tmp_path: Path) -> None:
    (tmp_path / "body.json").write_text('{"result": []}')
    commands = [
        ["export", "s3://", "--account", ACCOUNT],
        ["convert", str(tmp_path / "body.json"), "gs://"],
        ["verify", "az://"],
        ["inspect", "s3://key:secret@bucket/x"],
        ["head", "s3://"],
        ["doctor", "s3://", "--offline"],
        ["demo", "s3://bucket/demo"],
    ]
    for command in commands:
        ended = await run_cli(*command)
        assert ended.code == 2, command
        assert "expected " in ended.out + ended.err, command
        assert "secret" not in ended.out + ended.err


async def test_a_bucket_that_is_not_there_has_no_run_to_resume(
    moto: MotoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in moto.environment.items():
        monkeypatch.setenv(name, value)
    async with running_emulator(EmulatorConfig(records=5, token=TOKEN)) as emulator:
        ended = await run_cli(
            "export", "s3://no-such-bucket/lake", "--account", ACCOUNT, "--base-url", emulator.url
        )
    assert (ended.code, "there is no bucket" in ended.err) == (1, True), ended.err
    assert "resume" not in ended.err


async def test_a_url_that_is_named_as_a_file_is_refused(dest: str, tmp_path: Path) -> None:
    (tmp_path / "body.json").write_text('{"result": [{"id": "4711"}]}')
    ended = await run_cli("convert", str(tmp_path / "body.json"), f"{dest}/out.parquet")
    assert (ended.code, "which looks like a file" in ended.err) == (2, True), ended.err
