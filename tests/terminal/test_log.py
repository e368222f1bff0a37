"""Standard error for machines: one JSON object a line, whatever happens."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streamlic.dataset.commit_log import load_runs
from streamlic.emulator import EmulatorConfig, parse_fault, running_emulator
from streamlic.storage.local import LocalStore
from streamlic.terminal.log import Log, _AsWarnings
from tests.support.cli import ACCOUNT, OTHER_ACCOUNT, TOKEN, Ended, asked, run_cli, start_cli

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def events(err: str) -> list[dict[str, Any]]:
    """Return what each line of standard error says; all of them have to be events."""
    logged: list[dict[str, Any]] = [json.loads(line) for line in err.splitlines()]
    assert all(_TIME.fullmatch(one["time"]) for one in logged)
    return logged


async def exported(dest: Path, *more: str, fault: str | None = None) -> Ended:
    faults = (parse_fault(fault),) if fault else ()
    config = EmulatorConfig(records=30, page_size=10)
    async with running_emulator(config, faults=faults) as emulator:
        return await run_cli(
            "export", str(dest), "--base-url", emulator.url, "--rate-limit", "none",
            "--account", ACCOUNT, "--log-format", "json", *more,
        )  # fmt: skip


async def test_a_run_is_logged_from_its_start_to_its_summary(tmp_path: Path) -> None:
    ended = await exported(tmp_path, "--verbose", fault="status=503@2")
    logged = events(ended.err)
    assert [one["event"] for one in logged] == [
        "start", "progress", "retry", "progress", "progress", "summary",
    ]  # fmt: skip
    assert [one["rows"] for one in logged if one["event"] == "progress"] == [10, 20, 30]
    [retry] = [one for one in logged if one["event"] == "retry"]
    assert (retry["account"], retry["attempt"], retry["kind"]) == (ACCOUNT, 1, "ApiError")
    summary = logged[-1]
    assert (summary["rows"], summary["accounts"], summary["failed"]) == (30, 1, [])
    assert summary["complete"] is True
    assert ended.out.startswith("run "), "results still go to standard output"


async def test_every_event_has_its_level_its_run_and_its_account(tmp_path: Path) -> None:
    ended = await exported(tmp_path, "--verbose", fault="status=503@2")
    logged = events(ended.err)
    assert {(one["event"], one["level"]) for one in logged} == {
        ("start", "info"), ("progress", "info"), ("retry", "warning"), ("summary", "info"),
    }  # fmt: skip
    assert {one["run"] for one in logged} == {logged[-1]["run"]}
    assert {one["account"] for one in logged} == {ACCOUNT}


@pytest.mark.parametrize("quiet", [["--quiet"], []])
async def test_an_error_has_its_run_and_its_account(tmp_path: Path, quiet: list[str]) -> None:
    ended = await exported(tmp_path, *quiet, fault="status=404@2")
    error = events(ended.err)[-1]
    assert (error["event"], error["level"], error["account"]) == ("error", "error", ACCOUNT)
    assert [run.id for run in load_runs(LocalStore(tmp_path))] == [error["run"]]


async def test_of_many_accounts_an_event_has_the_one_that_it_is_about(tmp_path: Path) -> None:
    ended = await exported(tmp_path, "--account", OTHER_ACCOUNT, fault="status=503@1")
    logged = events(ended.err)
    assert {one.get("account") for one in logged if one["event"] != "retry"} == {None}
    [retry] = [one for one in logged if one["event"] == "retry"]
    assert retry["account"] in (ACCOUNT, OTHER_ACCOUNT)


async def test_an_error_of_use_has_no_run_yet(tmp_path: Path) -> None:
    [error] = events((await exported(tmp_path, "--limit", "0")).err)
    assert (error["level"], "run" in error) == ("error", False)


STRAY = """
import logging, threading, warnings
import click
from streamlic.cli.main import run_command_line
from streamlic.cli.watch import log_of_command

class Bad:
    def __del__(self): raise OSError("in the end")

def fails(): raise OSError("apart")

@click.group()
def cli(): pass

@cli.command()
@click.argument("format")
def stray(format):
    log_of_command().is_json = format == "json"
    warnings.warn("old", UserWarning)
    logging.getLogger("asyncio").error("a task %s", "failed", exc_info=OSError("why"))
    logging.getLogger("asyncio").info("nothing")
    if format == "json":
        Bad()
        thread = threading.Thread(target=fails)
        thread.start()
        thread.join()
    raise LookupError("a mistake of ours")

run_command_line(cli)
"""


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_python_and_libraries_say_is_said_in_the_same_way(log_format: str) -> None:
    command = [sys.executable, "-c", STRAY, "stray", log_format]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    said = ["UserWarning: old", "asyncio: a task failed (OSError: why)"]
    assert ended.returncode == 1
    if log_format == "json":
        said += ["raised in a thread: OSError: apart"]
        *warned, error = events(ended.stderr)
        ignored = warned.pop(2)["message"]
        assert re.fullmatch(
            r"ignored in <function Bad\.__del__ at .*>: OSError: in the end", ignored
        )
        assert [(one["level"], one["message"]) for one in warned] == [
            ("warning", one) for one in said
        ]
        assert (error["kind"], error["message"]) == ("LookupError", "a mistake of ours")
        assert error["traceback"].startswith("Traceback")
    else:
        lines = ended.stderr.splitlines()
        assert lines[:3] == [*(f"streamlic: warning: {one}" for one in said),
                             "Traceback (most recent call last):"]  # fmt: skip


async def test_an_error_names_its_kind_and_the_resume_command(tmp_path: Path) -> None:
    ended = await exported(tmp_path, fault="status=404@2")
    [start, error] = events(ended.err)
    assert (start["event"], error["event"]) == ("start", "error")
    assert (error["kind"], error["exit_code"], ended.code) == ("ApiError", 6, 6)
    assert error["message"].startswith("HTTP 404")
    assert error["resume_command"].startswith(f"streamlic export {tmp_path} --base-url ")


@pytest.mark.parametrize(("fault", "code"), [("status=404@1", 6), ("status=401@1", 4)])
async def test_what_has_no_page_and_fails_again_has_no_resume_command(
    tmp_path: Path, fault: str, code: int
) -> None:
    ended = await exported(tmp_path, fault=fault)
    error = events(ended.err)[-1]
    assert (error["event"], ended.code) == ("error", code)
    assert "resume_command" not in error


async def test_quiet_leaves_errors_alone(tmp_path: Path) -> None:
    assert (await exported(tmp_path / "right", "--quiet")).err == ""
    ended = await exported(tmp_path / "wrong", "--quiet", fault="status=404@2")
    assert [one["event"] for one in events(ended.err)] == ["error"]


@pytest.mark.parametrize(
    "wrong", [["--mode", "no-mode"], ["--limit", "0"]], ids=["refused by Click", "refused by us"]
)
async def test_wrong_use_is_an_event_too(tmp_path: Path, wrong: list[str]) -> None:
    ended = await exported(tmp_path, *wrong)
    [error] = events(ended.err)
    assert (error["event"], error["kind"], error["exit_code"]) == ("error", "UsageError", 2)
    assert "resume_command" not in error
    assert ended.code == 2


@pytest.mark.parametrize(
    ("arguments", "is_json"),
    [
        (["--log-format", "json", "--nosuch"], True),
        (["--nosuch", "--log-format=json"], True),
        (["--log-format", "json", "--account"], True),
        (["--log-format", "text", "--nosuch"], False),
        (["--log-format", "json", "--nosuch", "--log-format", "text"], False),
        (["--nosuch"], False),
    ],
)
@pytest.mark.parametrize("asked", ["on the command line", "by a variable", "by a file"])
async def test_an_error_that_ends_parsing_has_the_format_asked_for(
    tmp_path: Path, arguments: list[str], is_json: bool, asked: str
) -> None:
    """By the nearest that says so."""
    before, env = [], {}
    if asked == "by a variable":
        env["STREAMLIC_LOG_FORMAT"] = "json"
    if asked == "by a file":
        (tmp_path / "c.toml").write_text('log-format = "json"')
        before = ["--config", str(tmp_path / "c.toml")]
    if asked != "on the command line":
        is_json |= "text" not in arguments
    ended = await run_cli(*before, "export", str(tmp_path / "out"), *arguments, **env)
    assert ended.code == 2
    if is_json:
        [error] = events(ended.err)
        assert (error["event"], error["kind"], error["exit_code"]) == ("error", "UsageError", 2)
    else:
        assert "Error: No such option" in ended.err


async def test_warnings_are_events(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o644)
    logged = events((await exported(tmp_path / "dest", "--token-file", str(token))).err)
    assert logged[0]["event"] == "warning"
    assert "others can read the token file" in logged[0]["message"]


async def test_failed_accounts_are_in_the_summary_with_their_errors(tmp_path: Path) -> None:
    fault = "status=404@1"
    logged = events((await exported(tmp_path, "--account", OTHER_ACCOUNT, fault=fault)).err)
    [summary] = [one for one in logged if one["event"] == "summary"]
    assert summary["accounts"] == 2
    [failed] = summary["failed"]
    assert (failed["kind"], failed["retryable"]) == ("ApiError", False)
    assert failed["account"] in (ACCOUNT, OTHER_ACCOUNT)
    assert failed["reason"].startswith("HTTP 404")
    assert logged[-1]["kind"] == "AccountsFailed"


async def test_an_interruption_is_an_event_with_the_resume_command(tmp_path: Path) -> None:
    config = EmulatorConfig(records=1000, page_size=10, latency_ms=20)
    async with running_emulator(config) as emulator:
        args = ["export", str(tmp_path), "--base-url", emulator.url, "--account", ACCOUNT,
                "--restart", "--log-format", "json"]  # fmt: skip
        process = await start_cli(*args)
        await asked(emulator, 3)
        process.send_signal(signal.SIGTERM)
        _, err = await process.communicate()
    error = events(err.decode())[-1]
    assert (error["event"], error["kind"], error["exit_code"]) == ("error", "Interrupted", 143)
    assert "--restart" not in error["resume_command"], "it would throw away what is kept"


def _unwritable(how: str) -> int:
    if how == "full":
        return os.open("/dev/full", os.O_WRONLY)
    if how == "for reading":
        return os.open(os.devnull, os.O_RDONLY)
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize(
    ("how", "more"),
    [
        ("closed", ["--account", ACCOUNT]),
        ("for reading", ["--account", ACCOUNT, "--log-format", "json"]),
        pytest.param(
            "full",
            ["--account", ACCOUNT],
            marks=pytest.mark.skipif(not Path("/dev/full").exists(), reason="it is Linux's"),
        ),
        ("closed", []),
        ("closed", ["--nosuch", "--log-format", "json"]),
    ],
    ids=["closed", "for reading", "full", "refused by us", "refused by Click"],
)
async def test_an_error_output_that_takes_nothing_stops_nothing(
    tmp_path: Path, how: str, more: list[str]
) -> None:
    """The command ends as it would with an error output that takes everything."""
    errors = _unwritable(how)
    async with running_emulator(EmulatorConfig(records=30, page_size=10)) as emulator:
        args = ["export", str(tmp_path / "out"), "--base-url", emulator.url]
        process = await start_cli(*args, "--verbose", "--json", *more, stderr=errors)
        out, _ = await process.communicate()
    os.close(errors)
    assert process.returncode == (0 if ACCOUNT in more else 2)
    assert [json.loads(line)["rows"] for line in out.splitlines()] == [30] * (ACCOUNT in more)


def test_a_warning_of_ours_is_named_once() -> None:
    stream = io.StringIO()
    log = Log(stream)
    for source in ("streamlic", "pyiceberg.io"):
        record = logging.LogRecord(source, logging.WARNING, "", 1, "it waits", None, None)
        _AsWarnings(log).emit(record)
    assert stream.getvalue().splitlines() == [
        "streamlic: warning: it waits",
        "streamlic: warning: pyiceberg.io: it waits",
    ]
