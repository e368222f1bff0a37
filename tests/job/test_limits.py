"""A limit stops a server that never ends. Its message names it, and earlier pages are kept."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tomllib
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import streamlic
from streamlic.emulator import EmulatorConfig, parse_fault, running_emulator
from tests.support.altered_cli import STUCK
from tests.support.cli import (
    TOKEN,
    asked,
    check_landed,
    export_args,
    run_cli,
    start_cli,
    unfinished_rows,
)
from tests.support.raw_server import ACCOUNT, OK, server

ENDLESS = EmulatorConfig(records=10_000_000)


@pytest.mark.parametrize("engine", ["fast", "reference"])
@pytest.mark.parametrize(
    ("options", "option", "rows"),
    [
        (["--limit", "10", "--max-pages", "3"], "--max-pages", 30),
        (["--limit", "10", "--max-records", "25"], "--max-records", 20),
        (["--ignore-limit", "--max-records", "20000"], "--max-records", 0),
        (["--ignore-limit", "--max-body-bytes", "2MB"], "--max-body-bytes", 0),
    ],
)
async def test_what_exceeds_a_limit_ends_and_names_it(
    tmp_path: Path, options: list[str], option: str, rows: int, engine: str
) -> None:
    async with running_emulator(ENDLESS) as emulator:
        args = export_args(tmp_path, emulator.url, *options, "--engine", engine)
        ended = await asyncio.wait_for(run_cli(*args), 60)
        assert ended.code == 5
        assert option in ended.err
        assert "Traceback" not in ended.err
        assert unfinished_rows(tmp_path) == rows
        requests = len(emulator.requests)
        assert (await run_cli(*args)).code == 5  # Resuming does not exceed it either.
        assert len(emulator.requests) - requests <= 1
        assert unfinished_rows(tmp_path) == rows


@pytest.mark.parametrize("name", ["max_pages", "max_records", "max_body_bytes"])
def test_python_names_the_parameter_of_a_limit(name: str) -> None:
    with pytest.raises(streamlic.UsageError, match=rf"got 0 \({name}\)$") as raised:
        streamlic.Limits(**{name: 0})
    assert raised.value.parameter == name


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"memory_bytes": 1}, "memory_bytes"),
        ({"concurrency": 0}, "concurrency"),
        ({"commit_seconds": float("nan")}, "commit_seconds"),
        ({"absent_accounts": "lose"}, "absent_accounts"),
    ],
)
def test_python_names_the_parameter_of_a_job(given: dict[str, Any], name: str) -> None:
    with pytest.raises(streamlic.UsageError, match=rf" \({name}\)$"):
        streamlic.JobOptions(**given)


async def test_a_limit_that_is_just_reached_stops_nothing(tmp_path: Path) -> None:
    async with running_emulator(EmulatorConfig(records=40)) as emulator:
        more = ["--limit", "10", "--max-pages", "4", "--max-records", "40"]
        assert (await run_cli(*export_args(tmp_path, emulator.url, *more))).code == 0
    check_landed(tmp_path, 40)


async def test_a_bomb_stops_at_the_limit(tmp_path: Path) -> None:
    faults = (parse_fault("bomb=64"),)
    async with running_emulator(ENDLESS, faults=faults) as emulator:
        more = ["--limit", "10", "--max-body-bytes", "32MiB"]
        ended = await run_cli(*export_args(tmp_path, emulator.url, *more))
    assert ended.code == 5
    assert "--max-body-bytes" in ended.err


async def test_a_flood_of_headers_is_refused(tmp_path: Path) -> None:
    flood = OK + b"X-Flood: %b\r\n" % (b"x" * 4_000_000) + b"\r\n"
    async with server(flood) as (url, _):
        ended = await run_cli(*export_args(tmp_path, url))
    assert ended.code == 1
    assert "Traceback" not in ended.err
    assert len(ended.err) < 2000


@pytest.mark.parametrize(("mode", "warns"), [(0o600, False), (0o640, True), (0o604, True)])
async def test_a_token_file_that_others_can_read_is_warned_of(
    tmp_path: Path, mode: int, warns: bool
) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(mode)
    async with running_emulator(EmulatorConfig(records=3, token=TOKEN)) as emulator:
        args = export_args(tmp_path / "out", emulator.url, "--token-file", str(token))
        ended = await run_cli(*args, TRUTO_API_TOKEN="")
    assert ended.code == 0, ended.err
    assert (f"warning: others can read the token file {token}" in ended.err) is warns
    assert TOKEN not in ended.err


@pytest.mark.parametrize("name", ["directory", os.devnull])
async def test_a_token_that_is_not_a_file_gets_no_advice_about_its_mode(
    tmp_path: Path, name: str
) -> None:
    token = tmp_path / name
    if name == "directory":
        token.mkdir(mode=0o755)
    args = export_args(tmp_path / "out", "http://127.0.0.1:9", "--token-file", str(token))
    ended = await run_cli(*args, TRUTO_API_TOKEN="")
    assert ended.code == 2
    assert "chmod" not in ended.err
    assert str(token) in ended.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_signals_that_come_again_and_again_spoil_nothing(
    tmp_path: Path, number: signal.Signals
) -> None:
    """A server that is slow to answer keeps nobody waiting who wants to stop."""
    config = EmulatorConfig(records=1000, page_size=50, latency_ms=10)
    stall = (parse_fault("stall=60:3000@10"),)
    async with running_emulator(config, faults=stall) as emulator:
        args = export_args(tmp_path, emulator.url)
        process = await start_cli(*args)
        await asked(emulator, 10)
        await asyncio.sleep(0.2)
        for _ in range(20):
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)
            await asyncio.sleep(0.01)
        _, err = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 128 + number
        assert b"run the same command again to resume" in err
        assert b"Traceback" not in err
        assert unfinished_rows(tmp_path) == 450
        assert (await run_cli(*args)).code == 0
    check_landed(tmp_path, 1000)


@pytest.mark.parametrize(
    ("number", "more"),
    [(signal.SIGINT, []), (signal.SIGTERM, ["--log-format", "json"]), (signal.SIGHUP, [])],
)
async def test_a_second_signal_ends_a_process_whose_main_thread_is_stuck(
    tmp_path: Path, number: signal.Signals, more: list[str]
) -> None:
    """As it is while a library repeats a request, in C++, for a quarter of an hour."""
    args = export_args(tmp_path, "http://127.0.0.1:9", *more)
    process = await start_cli(*args, altered="stuck in C")
    ending = asyncio.ensure_future(process.communicate())
    try:
        for _ in range(1200):
            if (tmp_path / STUCK).exists():
                break
            await asyncio.sleep(0.05)
        for _ in range(600):
            process.send_signal(number)
            await asyncio.wait([ending], timeout=0.1)
            if ending.done():
                break
    finally:
        process.send_signal(signal.SIGKILL)
    _, err = await ending
    assert process.returncode == 128 + number
    assert b"interrupted twice, and ended at once; what is committed is kept" in err


def test_a_signal_in_the_last_moment_of_one_step_keeps_the_next_from_beginning() -> None:
    script = """
import os, signal
from streamlic.cli.main import Interrupted, run
async def step():
    os.kill(os.getpid(), signal.SIGTERM)
    return 5
assert run(step()) == 5, "nothing follows: it is done"
try:
    run(step(), says="interrupted", is_all=False)
except Interrupted as interrupted:
    print(interrupted.number, interrupted)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{signal.SIGTERM:d} interrupted\n"


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
KILLED_AT = """
import os, runpy, signal, sys
class Finder:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Finder())
if {is_ignored}:
    signal.signal({number}, signal.SIG_IGN)
sys.argv = ["streamlic", *{arguments}]
runpy.run_module("streamlic", run_name="__main__")
"""


def killed_at(
    module: str,
    number: int,
    *arguments: str,
    is_ignored: bool = False,
    env: dict[str, str] | None = None,
) -> tuple[int, str]:
    """Run a command that is sent a signal when it loads a module; return code and errors."""
    script = KILLED_AT.format(
        module=module, number=int(number), is_ignored=is_ignored, arguments=list(arguments)
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False,
        env={**os.environ, **(env or {})},
    )  # fmt: skip
    return ended.returncode, ended.stderr


@pytest.mark.parametrize(
    ("module", "says", "number"),
    [
        *(("streamlic.cli.main", "interrupted during startup", one) for one in SIGNALS),
        ("streamlic.dataset.lake", "interrupted", signal.SIGTERM),
    ],
)
def test_a_signal_ends_every_command_with_its_code_and_a_line(
    module: str, says: str, number: signal.Signals
) -> None:
    """It has a handler at all times: without one, the kernel spares process 1 of a container."""
    assert killed_at(module, number, "schema") == (128 + number, f"streamlic: {says}\n")


@pytest.mark.parametrize(
    ("module", "number"),
    [("streamlic.cli.main", signal.SIGINT), ("streamlic.dataset.lake", signal.SIGHUP)],
)
def test_a_signal_that_was_ignored_before_stays_so(module: str, number: signal.Signals) -> None:
    """As ``nohup`` and a shell's ``command &`` have it."""
    assert killed_at(module, number, "schema", is_ignored=True) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "env"),
    [(["--log-format", "json"], {}), (["--log-format=json"], {}),
     ([], {"STREAMLIC_EXPORT_LOG_FORMAT": "json"})],
)  # fmt: skip
def test_a_signal_before_the_command_runs_is_an_event_where_json_is_asked_for(
    arguments: list[str], env: dict[str, str]
) -> None:
    code, err = killed_at("streamlic.cli.main", signal.SIGTERM, "export", *arguments, env=env)
    event = json.loads(err)
    assert code == event["exit_code"] == 143
    assert (event["event"], event["level"], event["kind"]) == ("error", "error", "Interrupted")
    assert datetime.fromisoformat(event["time"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
async def test_an_export_does_not_heed_what_was_ignored_before(
    tmp_path: Path, number: signal.Signals
) -> None:
    config = EmulatorConfig(records=300, page_size=50)
    async with running_emulator(config, faults=(parse_fault("stall=0.3:3000@3"),)) as emulator:
        process = await start_cli(*export_args(tmp_path, emulator.url), ignored=(number,))
        await asked(emulator, 3)
        process.send_signal(number)
        await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0
    check_landed(tmp_path, 300)


def test_the_command_begins_where_the_module_does() -> None:
    """So that the rule above holds for it, too."""
    known = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert known["project"]["scripts"] == {"streamlic": "streamlic.__main__:main"}


async def test_an_interrupted_demo_does_not_promise_to_resume(tmp_path: Path) -> None:
    dest = tmp_path / "demo"
    process = await start_cli("demo", str(dest), "--records", "5000000")
    for _ in range(1200):
        if list(dest.glob("_streamlic/staging/*")):
            break
        await asyncio.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 130
    assert b"interrupted; the next demo needs another DEST" in err


@pytest.mark.parametrize("account", ["../../outside", "..", "a/b", f"{ACCOUNT}/../x", "\x00"])
async def test_an_account_cannot_lead_out_of_the_dataset(tmp_path: Path, account: str) -> None:
    if "\0" in account:
        account = "%00"
    dest = tmp_path / "out"
    ended = await run_cli(
        "export", str(dest), "--account", account, "--base-url", "http://127.0.0.1:9"
    )
    assert ended.code == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_pipe_that_stays_silent_keeps_nobody_waiting(
    tmp_path: Path, number: signal.Signals
) -> None:
    silent, kept_open = os.pipe()
    os.write(kept_open, b'[{"id":"a"},')
    process = await start_cli("convert", "-", str(tmp_path / "out"), "--quiet", stdin=silent)
    try:
        for _ in range(400):
            if (tmp_path / "out").exists():
                break
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        process.send_signal(number)
        _, err = await asyncio.wait_for(process.communicate(), 20)
    finally:
        os.close(silent)
        os.close(kept_open)
    assert process.returncode == 128 + number
    assert b"Traceback" not in err
