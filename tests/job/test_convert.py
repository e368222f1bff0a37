"""Bodies come from local files and pipes of all kinds, which may be silent, or never block."""

from __future__ import annotations

import asyncio
import io
import json
import os
import resource
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import streamlic
from streamlic.__main__ import main
from streamlic.cli.commands import cli
from streamlic.cli.main import run_command_line
from streamlic.emulator import EmulatorConfig
from tests.support import another_cli
from tests.support.cli import ACCOUNT, TOKEN, landed, run_cli, run_process, start_cli
from tests.support.forked import CLOSED, Forked, start_forked
from tests.support.server_thread import served


def line(number: int) -> bytes:
    return json.dumps({"id": f"l{number}"}).encode() + b"\n"


async def is_open(dest: Path, process: Forked) -> None:
    """Wait until a process has started its run."""
    while not (dest / "_streamlic").is_dir():
        assert process.returncode is None
        await asyncio.sleep(0.01)


async def test_a_pipe_that_never_blocks_is_read_to_its_end(tmp_path: Path) -> None:
    """That it has nothing yet is not its end."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    args = ["convert", "--lines", "-", str(tmp_path / "out"), "--json", "-v"]
    process = await start_cli(*args, stdin=reader)
    os.close(reader)
    os.write(writer, line(1))
    await is_open(tmp_path / "out", process)
    await asyncio.sleep(0.2)  # It finds the pipe empty.
    os.write(writer, line(2))
    os.close(writer)
    out, _ = await process.communicate()
    assert (process.returncode, json.loads(out)["rows"]) == (0, 2)


async def test_another_body_from_a_pipe_is_not_taken_for_an_interrupted_one(
    tmp_path: Path,
) -> None:
    """Nor is a file of the same name that has other bytes."""
    args = ["convert", "--lines", "-", str(tmp_path), "--json", "--quiet", "--commit-seconds", "0"]
    killed = await start_cli(*args, stdin=PIPE, altered="killed before the last commit")
    await killed.communicate(line(1))
    assert killed.returncode == -signal.SIGKILL
    ended = await run_process(*args, stdin=line(2) + line(3))
    assert ended.summary["rows"] == 2
    assert [row["id"] for row in landed(tmp_path)] == ["l2", "l3"]


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="it is Linux's")
async def test_a_source_that_fails_while_it_is_read_is_one_clear_line(tmp_path: Path) -> None:
    ended = await run_cli("convert", "/proc/self/mem", str(tmp_path / "out"))
    assert ended.code == 1
    assert "reading /proc/self/mem failed: Input/output error" in ended.err


@pytest.mark.parametrize("name", ["d\udcff", "d\0"])
def test_a_destination_that_has_no_name_in_unicode_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(streamlic.UsageError, match=r"\(dest\)"):
        streamlic.export(
            tmp_path / name, ACCOUNT, connection=streamlic.ConnectionSettings(token=TOKEN)
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_named_pipe_that_stays_silent_keeps_nobody_waiting(
    tmp_path: Path, number: int
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR)  # Open at both ends, so that no one waits for the other.
    process = await start_cli("convert", str(pipe), str(tmp_path / "out"), "--quiet")
    os.write(writer, b'{"result":[')
    await is_open(tmp_path / "out", process)
    process.send_signal(number)
    _, err = await process.communicate()
    os.close(writer)
    assert process.returncode == 128 + number, err


async def test_an_error_in_a_named_pipe_is_reported_while_it_stays_open(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = await start_cli("convert", str(pipe), str(tmp_path / "out"), "--quiet")
    writer = await asyncio.to_thread(os.open, pipe, os.O_WRONLY)
    with suppress(BrokenPipeError):  # It may have ended before it took all.
        await asyncio.to_thread(os.write, writer, b'{"result":[bad' + b" " * (1 << 20))
    _, err = await asyncio.wait_for(process.communicate(), 60)
    os.close(writer)
    assert process.returncode == 5, err


def test_a_retry_is_reported_once(tmp_path: Path) -> None:
    shown: list[str] = []

    def on_progress(progress: streamlic.Progress) -> None:
        shown.extend(str(one.error) for one in progress.events if isinstance(one, streamlic.Retry))

    with served(EmulatorConfig(records=3000, token=TOKEN), "reset@2,times=1") as emulator:
        summary = streamlic.export(
            tmp_path / "out",
            ACCOUNT,
            connection=streamlic.ConnectionSettings(token=TOKEN, base_url=emulator.url),
            on_progress=on_progress,
        )
    assert (summary.retries, len(shown)) == (1, 1)


async def test_the_demo_is_nobody_elses_emulator(tmp_path: Path) -> None:
    """What is said of options for other emulators does not concern it."""
    ended = await run_cli(
        "demo",
        str(tmp_path / "demo"),
        "--records",
        "500",
        STREAMLIC_EMULATE_FAULT="status=500",
        STREAMLIC_EMULATE_ACCOUNTS="3",
        STREAMLIC_EMULATE_HOST="0.0.0.0",  # noqa: S104
    )
    assert ended.code == 0, ended.err
    assert "paid seats" in ended.out
    assert (tmp_path / "demo.html").exists()
    again = await run_cli("demo", str(tmp_path / "demo"))
    assert (again.code, "demo is not empty" in again.err) == (2, True)


async def test_restart_is_said_on_the_command_line_only(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("[export]\nrestart = true\n")
    ended = await run_cli("--config", str(config), "export", str(tmp_path / "out"))
    assert ended.code == 2
    assert "restart" in ended.err


@pytest.mark.parametrize(
    "text",
    [
        'token-file = "~nosuchuser/x"',
        'token-file = "a\\u0000b"',
        "[export]\nlimit = " + "9" * 5000,
        "memory = " + "9" * 400,
        f'memory = "{"9" * 400}"',
        "commit-seconds = " + "9" * 400,
    ],
)
async def test_values_that_no_option_takes_are_errors_of_use(tmp_path: Path, text: str) -> None:
    config = tmp_path / "c.toml"
    config.write_text(text)
    ended = await run_cli("--config", str(config), "export", str(tmp_path / "out"))
    assert ended.code == 2
    assert "c.toml" in ended.err


@pytest.mark.parametrize("option", ["memory", "part-bytes", "max-body-bytes"])
@pytest.mark.parametrize("digits", [19, 400])
async def test_sizes_beyond_all_are_errors_of_use(tmp_path: Path, option: str, digits: int) -> None:
    size, dest = "9" * digits, str(tmp_path / "out")
    variable = f"STREAMLIC_EXPORT_{option.upper().replace('-', '_')}"
    for ended in (
        await run_cli("export", dest, f"--{option}", size),
        await run_cli("export", dest, **{variable: size}),
    ):
        assert ended.code == 2
        assert f"'--{option}': expected a size below 8388608TiB" in ended.err


async def test_closed_streams_cause_no_traceback(tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_bytes(b'{"result":[{"id":"a"}]}')
    process = await start_cli("convert", str(body), str(tmp_path / "out"), stderr=CLOSED)
    assert await process.wait() == 0


@pytest.mark.parametrize(
    ("closed", "arguments", "code", "says"),
    [
        (["stdout"], "verify {0}/lake", 5, "streamlic: 1 problem found in {0}/lake"),
        (["stdin", "stdout"], "export {0}/out --account bad", 2, "streamlic: the account"),
        (["stdout"], "convert {0}/body.json {0}/out --quiet", 0, ""),
    ],
)
async def test_closed_output_changes_neither_code_nor_message(
    tmp_path: Path, closed: list[str], arguments: str, code: int, says: str
) -> None:
    (tmp_path / "body.json").write_bytes(b'{"result":[{"id":"a"}]}')
    (tmp_path / "lake/_streamlic").mkdir(parents=True)
    (tmp_path / "lake/_streamlic/lock").touch()  # A lake without a run.
    streams: dict[str, Any] = dict.fromkeys(closed, CLOSED)
    process = await start_cli(*arguments.format(tmp_path).split(), **streams)
    _, err = await process.communicate()
    assert process.returncode == code
    assert err.decode().startswith(says.format(tmp_path))
    assert len(err.splitlines()) == bool(says)


def _unwritable(how: str, folder: Path) -> int:
    """Open an output that cannot be written, for one reason or another."""
    if how == "for reading":
        return os.open(os.devnull, os.O_RDONLY)
    if how == "a full disk":
        return os.open("/dev/full", os.O_WRONLY)
    if how == "too large":
        return os.open(folder / "output", os.O_WRONLY | os.O_CREAT)
    reader, writer = os.pipe()
    if how == "closed":
        os.close(reader)
        return writer
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"-" * 4096)
    return writer


def _main_without_room() -> None:
    """Run the command line where no file may grow."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    main()


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("for reading", "Bad file descriptor"),
        ("too large", "File too large"),
        ("full and never blocks", "Resource temporarily unavailable"),
        ("closed", None),
        pytest.param(
            "a full disk",
            "No space left on device",
            marks=pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's"),
        ),
    ],
)
async def test_output_that_cannot_be_written_is_one_clear_line(
    tmp_path: Path, how: str, why: str | None
) -> None:
    """Or none, where who read it has enough."""
    output = _unwritable(how, tmp_path)
    run = _main_without_room if how == "too large" else main
    process = await start_forked(run, args=("schema",), stdout=output, env=os.environ)
    os.close(output)
    _, err = await process.communicate()
    assert process.returncode == 1
    says = f"streamlic: standard output cannot be written: {why}\n" if why else ""
    assert err.decode() == says


async def test_another_files_error_does_not_pass_for_the_outputs() -> None:
    process = await start_forked(another_cli.run_another, args=("fail",), env=os.environ)
    _, err = await process.communicate()
    assert process.returncode == 1
    assert b"standard output" not in err
    assert b"Traceback" in err, "it is a mistake of ours"


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"PYTHONIOENCODING": "iso-8859-1"}, b"caf\xe9 \\u043a \\udcff\n"),
        ({"PYTHONIOENCODING": "koi8-r:surrogateescape"}, b"caf\\xe9 \xcb \\udcff\n"),
        ({"PYTHONIOENCODING": "ascii"}, b"caf\xc3\xa9 \xd0\xba ?\n"),  # Click writes UTF-8 there.
        ({"PYTHONIOENCODING": "utf-8"}, b"caf\xc3\xa9 \xd0\xba \\udcff\n"),
        ({"LC_ALL": "C", "PYTHONIOENCODING": ""}, b"caf\xc3\xa9 \xd0\xba \xff\n"),
    ],
)
def test_what_an_encoding_has_no_characters_for_is_written_as_escapes(
    env: dict[str, str], expected: bytes
) -> None:
    """A run that is complete does not fail at the words for it."""
    command = [sys.executable, "-P", another_cli.__file__, "say"]
    ended = subprocess.run(command, capture_output=True, check=False, env={**os.environ, **env})
    assert (ended.returncode, ended.stdout) == (0, expected)
    beginning, _, _ = expected.rpartition(b" ")  # What follows is Python's own choice there.
    assert ended.stderr.startswith(beginning)


def test_a_stream_that_was_put_in_place_of_the_output_gets_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It need not be a file at all."""
    output = io.StringIO()
    monkeypatch.setattr(sys, "argv", ["streamlic", "--version"])
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(SystemExit),
    ):  # It keeps a main thread's signals.
        pool.submit(run_command_line, cli).result()
    assert output.getvalue() == f"streamlic, version {streamlic.__version__}\n"


async def test_a_secret_in_the_url_is_not_shown(tmp_path: Path) -> None:
    url = f"http://user:{TOKEN}@127.0.0.1:9"
    ended = await run_cli("doctor", str(tmp_path), "--json", "--base-url", url)
    assert "127.0.0.1:9" in ended.out


async def test_a_body_is_converted_with_as_much_memory_as_one_likes(tmp_path: Path) -> None:
    source = tmp_path / "body.ndjson"
    source.write_bytes(line(1))
    dest = str(tmp_path / "out")
    ended = await run_cli("convert", str(source), dest, "--json", "--quiet", "--memory", "1TiB")
    assert (ended.code, ended.summary["rows"]) == (0, 1)


@pytest.mark.parametrize(
    ("body", "args", "helps"),
    [
        (b'{"id":"a"}', [], "(--rows-at); --lines reads newline-delimited records"),
        (b'{"id":"a"}', ["--raw"], "(--rows-at); --lines reads newline-delimited records"),
        (b'[{"id":"a"}]', ["--lines"], "; --no-lines reads an array"),
        (b'{"result":{"a":{"name":"b"}}}', [], "(--key-by)"),
        (b'{"result":[[[[[[1]]]]]]}', ["--max-depth", "6"], "(--max-depth)"),
    ],
)
async def test_a_body_of_another_kind_ends_with_the_options_that_help(
    tmp_path: Path, body: bytes, args: list[str], helps: str
) -> None:
    source, dest = tmp_path / "body", tmp_path / "out"
    source.write_bytes(body)
    ended = await run_cli("convert", str(source), str(dest), "--quiet", *args)
    assert ended.code == 5
    assert ended.err.endswith(f"{helps}\n")
