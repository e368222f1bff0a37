"""What the doctor finds, by real processes, and what it ends with."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamlic.dataset.destination import writer_lock
from streamlic.diagnostics.check import Check, exit_code_of
from streamlic.diagnostics.doctor import check_dest, check_memory
from streamlic.emulator import EmulatorConfig, running_emulator
from streamlic.storage.local import LocalStore
from streamlic.system.machine import MemoryLimit, memory_limit
from tests.support.cli import (
    ACCOUNT,
    TOKEN,
    Ended,
    export_args,
    files_of,
    run_cli,
    run_interpreter,
    run_process,
)
from tests.support.raw_server import server

EMULATED = EmulatorConfig(records=5, token=TOKEN)
GIB = 1 << 30


def checks(ended: Ended) -> dict[str, dict[str, Any]]:
    report = json.loads(ended.out)
    assert report["exit_code"] == ended.code
    assert report["ok"] == (ended.code == 0)
    return {check["name"]: check for check in report["checks"]}


def states(ended: Ended) -> dict[str, str]:
    return {name: check["state"] for name, check in checks(ended).items()}


@pytest.fixture
def nowhere() -> Iterator[str]:
    """Yield a URL where nobody listens, for as long as the test lasts."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


async def test_a_run_would_succeed(tmp_path: Path) -> None:
    async with running_emulator(EMULATED) as emulator:
        ended = await run_cli("doctor", str(tmp_path / "a/b"), "--base-url", emulator.url, "--json")
        text = await run_cli("doctor", str(tmp_path), "--base-url", emulator.url)
        asked = [(one.path, one.query) for one in emulator.requests]
    assert set(states(ended).values()) == {"ok"}
    found = checks(ended)
    assert list(found) == ["settings", "versions", "engine", "token", "api", "dest", "memory",
                           "processors", "limits"]  # fmt: skip
    assert asked == [("/integrated-account", [("limit", "1")])] * 2
    assert set(found["versions"]["facts"]) == {"streamlic", "python", "pyarrow", "ijson", "aiohttp"}
    assert found["engine"]["facts"]["engine"] == "fast"
    assert found["engine"]["facts"]["instructions"] in ("scalar", "sse2", "avx2", "neon")
    assert found["token"]["facts"] == {"origin": "TRUTO_API_TOKEN"}
    assert found["memory"]["facts"]["memory_bytes"] == 256 << 20
    assert found["dest"]["found"].endswith(" free: a run stages all its rows there")
    assert found["processors"]["facts"]["there"] == os.cpu_count()
    assert list(tmp_path.iterdir()) == []
    assert text.code == 0
    lines = text.out.splitlines()
    assert [line.split()[:2] for line in lines] == [["ok", name] for name in found]


async def test_offline_asks_nothing_and_needs_no_token(nowhere: str) -> None:
    offline = await run_cli("doctor", "--offline", "--json", "--base-url", nowhere)
    assert offline.code == 0
    assert "api" not in states(offline)
    without = await run_cli("doctor", "--offline", "--json", TRUTO_API_TOKEN="")
    assert without.code == 0
    assert states(without)["token"] == "warning"


async def test_without_a_token_it_ends_as_export_would(tmp_path: Path) -> None:
    ended = await run_cli("doctor", "--json", TRUTO_API_TOKEN="")
    export = await run_cli("export", str(tmp_path), "--account", ACCOUNT, TRUTO_API_TOKEN="")
    assert ended.code == export.code == 2
    assert checks(ended)["token"]["found"] in export.err
    assert "api" not in states(ended)


async def test_a_token_that_is_refused(tmp_path: Path) -> None:
    async with running_emulator(EMULATED) as emulator:
        ended = await run_cli("doctor", "--base-url", emulator.url, "--json", TRUTO_API_TOKEN="old")
        export = await run_cli(*export_args(tmp_path, emulator.url), TRUTO_API_TOKEN="old")
    assert ended.code == export.code == 4
    assert states(ended)["token"] == "ok"
    assert states(ended)["api"] == "failed"
    assert "--token-file" in checks(ended)["api"]["advice"]


async def test_an_api_that_is_not_there(nowhere: str) -> None:
    ended = await run_cli("doctor", "--base-url", nowhere, "--json")
    assert ended.code == 1
    assert checks(ended)["api"]["state"] == "failed"
    assert "--base-url" in checks(ended)["api"]["advice"]


@pytest.mark.parametrize(
    ("args", "name", "says"),
    [
        (["--base-url", "http://api.example"], "api", "--allow-http"),
        (["--ca-file", "/dev/null"], "api", "--ca-file"),
        (["--rate-limit", "fast"], "api", "--rate-limit"),
        (["--memory", "1MiB"], "memory", "--memory"),
    ],
)
async def test_wrong_use_is_a_check_that_failed(
    nowhere: str, args: list[str], name: str, says: str
) -> None:
    ended = await run_cli("doctor", "--json", "--base-url", nowhere, *args,
                          *(["--offline"] if name == "memory" else []))  # fmt: skip
    assert ended.code == 2
    assert checks(ended)[name]["state"] == "failed"
    assert says in checks(ended)[name]["found"]


async def test_the_tokens_file_and_its_mode_are_checked(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    for mode, state in [(0o600, "ok"), (0o644, "warning")]:
        token.chmod(mode)
        ended = await run_cli("doctor", "--offline", "--json", "--token-file", str(token))
        assert ended.code == 0
        assert ended.err == ""
        assert states(ended)["token"] == state
        assert str(token) in checks(ended)["token"]["found"]
    assert checks(ended)["token"]["advice"] == f"chmod 600 {token}"


async def test_without_the_fast_engine_it_says_why(tmp_path: Path) -> None:
    ended = await run_process("doctor", "--offline", "--json", STREAMLIC_NO_FAST="1")
    assert ended.code == 0
    engine = checks(ended)["engine"]
    assert (engine["state"], engine["facts"]["engine"]) == ("warning", "reference")
    assert engine["facts"]["why_not_fast"] == "STREAMLIC_NO_FAST is set"
    assert engine["advice"] == "unset STREAMLIC_NO_FAST"
    named = await run_process(
        "doctor", "--offline", "--json", "--engine", "fast", STREAMLIC_NO_FAST="1"
    )
    assert named.code == 2
    assert checks(named)["engine"]["state"] == "failed"


OTHER_BUILD = """
import sys
class Finder:
    def find_spec(self, name, *_):
        if name == "streamlic.decoder._fast":
            raise {}
sys.meta_path.insert(0, Finder())
"""


async def test_a_missing_engine_differs_from_one_that_does_not_load(
    tmp_path: Path,
) -> None:
    """Another finder of modules is put before the usual ones, as another build would be."""
    for error, advice in [
        ("ModuleNotFoundError(\"No module named 'streamlic.decoder._fast'\")", "C++17 compiler"),
        ("ImportError('undefined symbol: _Z3foo')", "another Python or system"),
    ]:
        (tmp_path / "sitecustomize.py").write_text(OTHER_BUILD.format(error))
        paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
        ended = await run_interpreter("doctor", "--offline", "--json", PYTHONPATH=paths)
        engine = checks(ended)["engine"]
        assert engine["state"] == "warning"
        assert advice in engine["advice"]
        assert engine["facts"]["why_not_fast"] in engine["found"]


async def test_a_library_that_does_not_load_ends_the_checks(tmp_path: Path) -> None:
    (tmp_path / "pyarrow").mkdir()
    (tmp_path / "pyarrow/__init__.py").write_text("raise ImportError('libarrow.so: no such file')")
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    ended = await run_interpreter("doctor", "--json", PYTHONPATH=paths)
    assert ended.code == 1
    assert states(ended) == {"settings": "ok", "versions": "failed"}
    assert "libarrow.so: no such file" in checks(ended)["versions"]["found"]


async def test_a_destination_that_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    for dest, code in ((file, 2), (file / "below", 2), (Path("/proc/below"), 1)):
        ended = await run_cli("doctor", str(dest), "--offline", "--json")
        assert ended.code == code
        assert checks(ended)["dest"]["state"] == "failed"
        assert str(dest.parent) in checks(ended)["dest"]["found"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_destination_where_not_even_root_may_write() -> None:
    check = check_dest("/proc/streamlic")
    assert (check.state, check.exit_code) == ("failed", 1)
    assert check.found.startswith("/proc/")


async def test_a_destination_that_holds_other_files_is_refused_as_export_does(
    tmp_path: Path,
) -> None:
    (tmp_path / "other.txt").write_text("mine")
    ended = await run_cli("doctor", str(tmp_path), "--offline", "--json")
    assert ended.code == 2
    assert "other.txt" in checks(ended)["dest"]["found"]
    assert files_of(tmp_path) == {"other.txt"}


async def test_what_a_doctor_left_that_was_killed_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / ".streamlic-doctor-x1y2").mkdir()
    (tmp_path / ".streamlic-doctor-x1y2" / "probe").write_text("streamlic doctor")
    async with running_emulator(EmulatorConfig(records=20)) as emulator:
        for _ in range(2):
            args = export_args(tmp_path, emulator.url, "--mode", "overwrite")
            ended = await run_cli(*args)
            assert ended.code == 0, ended.err
    assert (await run_cli("verify", str(tmp_path))).code == 0


async def test_a_dataset_is_left_as_it_is(tmp_path: Path) -> None:
    async with running_emulator(EMULATED) as emulator:
        assert (await run_cli(*export_args(tmp_path, emulator.url))).code == 0
    before = files_of(tmp_path)
    assert states(await run_cli("doctor", str(tmp_path), "--offline", "--json"))["dest"] == "ok"
    assert files_of(tmp_path) == before
    assert (await run_cli("verify", str(tmp_path))).code == 0


@pytest.mark.parametrize("place", ["notes.txt", "licenses/part-copied.parquet"])
async def test_files_in_a_lake_that_export_refuses_are_found(tmp_path: Path, place: str) -> None:
    async with running_emulator(EMULATED) as emulator:
        args = export_args(tmp_path, emulator.url, "--mode", "overwrite")
        assert (await run_cli(*args)).code == 0
        assert states(await run_cli("doctor", str(tmp_path), "--offline", "--json"))["dest"] == "ok"
        (tmp_path / place).write_text("mine")
        exported = await run_cli(*args)
    ended = await run_cli("doctor", str(tmp_path), "--offline", "--json")
    found = checks(ended)["dest"]
    assert (exported.code, ended.code, found["state"]) == (2, 2, "failed")
    assert found["found"] in exported.err
    assert place in found["found"]


async def test_another_writer_is_found_as_export_finds_it(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with writer_lock(store):
        ended = await run_process("doctor", str(tmp_path), "--offline", "--json")
        exported = await run_process(*export_args(tmp_path, "http://127.0.0.1:9"))
    assert (exported.code, ended.code) == (1, 1)
    assert "a writer is active" in checks(ended)["dest"]["found"]
    assert states(await run_cli("doctor", str(tmp_path), "--offline", "--json"))["dest"] == "ok"


@pytest.mark.parametrize("given", [[], ["--partition-by", "export_date"], ["--format", "parquet"]])
async def test_the_format_of_a_lake_is_shown_and_compared(tmp_path: Path, given: list[str]) -> None:
    pytest.importorskip("deltalake")
    async with running_emulator(EMULATED) as emulator:
        args = export_args(tmp_path, emulator.url, "--mode", "append")
        assert (await run_cli(*args, "--format", "delta")).code == 0
        exported = await run_cli(*args, *given)
    ended = await run_cli("doctor", str(tmp_path), "--offline", "--json", *given)
    found = checks(ended)["format"]
    assert exported.code == ended.code == (2 if given else 0)
    assert found["found"] in exported.err if given else "delta, by deltalake" in found["found"]


async def test_what_only_the_lake_decides_is_left_open_where_it_is_not_looked_at() -> None:
    args = ["doctor", "s3://bucket/lake", "--offline", "--json", "--catalog", "prod"]
    assert "format" not in states(await run_cli(*args))
    ended = await run_cli(*args, "--format", "delta")
    assert (ended.code, states(ended)["format"]) == (2, "failed")


async def test_a_damaged_log_is_found_before_the_night(tmp_path: Path) -> None:
    async with running_emulator(EMULATED) as emulator:
        assert (await run_cli(*export_args(tmp_path, emulator.url))).code == 0
    for record in (tmp_path / "_streamlic").rglob("0*.json"):
        record.write_text("{")
    ended = await run_cli("doctor", str(tmp_path), "--offline", "--json")
    verified = await run_cli("verify", str(tmp_path))
    assert (ended.code, states(ended)["dest"]) == (5, "failed")
    assert checks(ended)["dest"]["found"] in verified.out


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["--format", "delta"], 0, "delta, by deltalake "),
        (["--format", "delta", "--catalog", "lake"], 2, "a catalog is for Iceberg tables"),
        (["--format", "iceberg", "--catalog", "lake", "--memory", "128MiB"], 2, "at least 192MiB"),
    ],
)
async def test_the_table_format_is_checked(args: list[str], code: int, says: str) -> None:
    ended = await run_cli("doctor", "--offline", "--json", *args)
    assert (ended.code, states(ended)["format"]) == (code, "failed" if code else "ok")
    assert says in checks(ended)["format"]["found"]


async def test_the_catalog_is_asked(tmp_path: Path) -> None:
    pytest.importorskip("pyiceberg")
    (tmp_path / "body.json").write_text('{"result": [{"id": "1"}]}')
    env = {"PYICEBERG_CATALOG__LAKE__TYPE": "sql",
           "PYICEBERG_CATALOG__LAKE__URI": f"sqlite:///{tmp_path}/catalog.db",
           "PYICEBERG_CATALOG__LAKE__WAREHOUSE": f"file://{tmp_path}/warehouse",
           "PYICEBERG_HOME": str(tmp_path)}  # fmt: skip
    options = ["--format", "iceberg", "--catalog", "lake"]
    looked = ["doctor", "--json", "--base-url", "http://127.0.0.1:9"]
    new = checks(await run_cli(*looked, *options, **env))["format"]
    assert (new["state"], new["facts"]["exists"]) == ("ok", False)
    body = [str(tmp_path / "body.json"), str(tmp_path / "lake")]
    converted = await run_cli("convert", *body, *options, **env)
    assert converted.code == 0, converted.err
    old = checks(await run_cli(*looked, *options, **env))["format"]
    assert (old["state"], old["facts"]["exists"]) == ("ok", True)
    unknown = [*options[:-1], "absent"]
    absent = checks(await run_cli(*looked, *unknown, **env))["format"]
    assert (absent["state"], absent["exit_code"]) == ("failed", 2)
    assert "no Iceberg catalog 'absent' is configured" in absent["found"]
    inspected = await run_cli("inspect", str(tmp_path / "lake"), **env)
    assert inspected.out.splitlines()[1].endswith(", Iceberg tables")


@pytest.mark.parametrize(
    ("memory_bytes", "state"), [(GIB, "ok"), (GIB - 1, "ok"), (GIB + 1, "warning")]
)
def test_more_memory_than_the_container_has_is_warned_of(memory_bytes: int, state: str) -> None:
    limit = MemoryLimit(GIB, "/sys/fs/cgroup/memory.max", is_containers=True)
    check = check_memory(memory_bytes, limit)
    assert check.state == state
    assert "/sys/fs/cgroup/memory.max" in check.found
    assert (check.advice is not None) == (state == "warning")


async def test_it_waits_no_longer_than_is_said() -> None:
    is_over = asyncio.Event()

    async def silent(_: asyncio.StreamWriter) -> None:
        await is_over.wait()

    async with server(silent) as (url, _):
        ended = await run_cli("doctor", "--base-url", url, "--read-timeout", "0.2")
        is_over.set()
    assert ended.code == 1
    assert "fell silent for 0.2 s (--read-timeout" in ended.out


async def test_more_memory_than_there_is_at_all() -> None:
    ended = await run_cli(
        "doctor", "--offline", "--json", "--memory", str(memory_limit().bytes + 1)
    )
    assert ended.code == 0
    assert states(ended)["memory"] == "warning"


async def test_settings_are_listed_and_unknown_variables_give_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "streamlic.toml").write_text("[export]\nmemory = '200MiB'")
    env = {"STREAMLIC_EXPORT_MODE": "append", "STREAMLIC_EXPORT_RATELIMIT": "none"}
    ended = await run_cli("doctor", "--offline", "--json", **env)
    assert ended.code == 0
    settings = checks(ended)["settings"]
    assert settings["state"] == "warning"
    assert settings["facts"]["file"] == "streamlic.toml"
    assert settings["facts"]["unknown_variables"] == ["STREAMLIC_EXPORT_RATELIMIT"]
    assert settings["advice"] == "did you mean STREAMLIC_EXPORT_RATE_LIMIT?"
    assert checks(ended)["memory"]["facts"]["memory_bytes"] == 200 << 20


@pytest.mark.parametrize(
    ("failed", "code"), [([], 0), ([4], 4), ([2, 2], 2), ([4, 2], 1), ([1, 4], 1)]
)
def test_checks_that_failed_make_the_exit_code(failed: list[int], code: int) -> None:
    found = [Check(name="a", state="ok", found=""), Check(name="b", state="warning", found="")]
    found += [Check(name="c", state="failed", found="", exit_code=one) for one in failed]
    assert exit_code_of(found) == code
