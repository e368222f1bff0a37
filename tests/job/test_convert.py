"""Bodies come from local files and pipes of all kinds, which may be silent, or never block."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

import streamlic
from streamlic.emulator import EmulatorConfig
from tests.support.cli import ACCOUNT, TOKEN, landed, run_cli, run_process, start_cli
from tests.support.server_thread import served

COMMAND = [sys.executable, "-m", "streamlic"]


def line(number: int) -> bytes:
    return json.dumps({"id": f"l{number}"}).encode() + b"\n"


def test_a_pipe_that_never_blocks_is_read_to_its_end(tmp_path: Path) -> None:
    """That it has nothing yet is not its end."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    command = [*COMMAND, "convert", "--lines", "-", str(tmp_path / "out"), "--json", "-v"]
    with subprocess.Popen(command, stdin=reader, stdout=subprocess.PIPE) as process:
        os.close(reader)
        os.write(writer, line(1))
        run = tmp_path / "out" / "_streamlic"
        while not run.is_dir():  # It has started, and finds the pipe empty.
            assert process.poll() is None
        threading.Event().wait(0.5)
        os.write(writer, line(2))
        os.close(writer)
        out, _ = process.communicate()
    assert (process.returncode, json.loads(out)["rows"]) == (0, 2)


async def test_another_body_from_a_pipe_is_not_taken_for_an_interrupted_one(
    tmp_path: Path,
) -> None:
    """Nor is a file of the same name that has other bytes."""
    args = ["convert", "--lines", "-", str(tmp_path), "--json", "--quiet", "--commit-seconds", "0"]
    pipe = asyncio.subprocess.PIPE
    killed = await start_cli(*args, stdin=pipe, altered="killed before the last commit")
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
def test_a_named_pipe_that_stays_silent_keeps_nobody_waiting(tmp_path: Path, number: int) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = [*COMMAND, "convert", str(pipe), str(tmp_path / "out"), "--quiet"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        with pipe.open("wb", buffering=0) as writer:  # Opens when the other end is opened.
            writer.write(b'{"result":[')
            while not (tmp_path / "out" / "_streamlic").is_dir():
                assert process.poll() is None
            process.send_signal(number)
            _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err


def test_an_error_in_a_named_pipe_is_reported_while_it_stays_open(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = [*COMMAND, "convert", str(pipe), str(tmp_path / "out"), "--quiet"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        with pipe.open("wb", buffering=0) as writer:
            with suppress(BrokenPipeError):  # It may have ended before it took all.
                writer.write(b'{"result":[bad' + b" " * (1 << 20))
            _, err = process.communicate(timeout=60)
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
    shell = f"{sys.executable} -m streamlic convert {body} {tmp_path}/out 2>&-"
    process = await asyncio.create_subprocess_shell(shell, stdout=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0


@pytest.mark.parametrize(
    ("closed", "arguments", "code", "says"),
    [
        (">&-", "verify {0}/missing", 5, "streamlic: 1 problem found in {0}/missing"),
        ("<&- >&-", "export {0}/out --account bad", 2, "streamlic: the account"),
        (">&-", "convert {0}/body.json {0}/out --quiet", 0, ""),
    ],
)
async def test_closed_output_changes_neither_code_nor_message(
    tmp_path: Path, closed: str, arguments: str, code: int, says: str
) -> None:
    (tmp_path / "body.json").write_bytes(b'{"result":[{"id":"a"}]}')
    shell = f"{sys.executable} -m streamlic {arguments.format(tmp_path)} {closed}"
    process = await asyncio.create_subprocess_shell(shell, stderr=asyncio.subprocess.PIPE)
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
def test_output_that_cannot_be_written_is_one_clear_line(
    tmp_path: Path, how: str, why: str | None
) -> None:
    """Or none, where who read it has enough."""
    output = _unwritable(how, tmp_path)
    limit = "ulimit -f 0; " if how == "too large" else ""
    command = ["sh", "-c", f'{limit}exec "$@"', "sh", *COMMAND, "schema"]
    ended = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, check=False)
    os.close(output)
    assert ended.returncode == 1
    assert ended.stderr == (f"streamlic: standard output cannot be written: {why}\n" if why else "")


def test_another_files_error_does_not_pass_for_the_outputs() -> None:
    script = """
import click, errno
from streamlic.cli.main import run_command_line

@click.group()
def cli(): pass

@cli.command()
def fail(): raise OSError(errno.ENOSPC, "of another file")

run_command_line(cli)
"""
    command = [sys.executable, "-c", script, "fail"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "standard output" not in ended.stderr
    assert "Traceback" in ended.stderr, "it is a mistake of ours"


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
    script = r"""
import click
from streamlic.cli.main import run_command_line

@click.group()
def cli(): pass

@cli.command()
def say():
    for to_errors in (False, True):
        click.echo("caf\xe9 \u043a \udcff", err=to_errors)

run_command_line(cli)
"""
    command = [sys.executable, "-c", script, "say"]
    ended = subprocess.run(command, capture_output=True, check=False, env={**os.environ, **env})
    assert (ended.returncode, ended.stdout) == (0, expected)
    beginning, _, _ = expected.rpartition(b" ")  # What follows is Python's own choice there.
    assert ended.stderr.startswith(beginning)


def test_a_stream_that_was_put_in_place_of_the_output_gets_it() -> None:
    """It need not be a file at all."""
    script = """
import io, sys
from streamlic.cli.commands import main
sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
try:
    main()
except SystemExit:
    sys.__stdout__.write(sys.stdout.getvalue().upper())
"""
    command = [sys.executable, "-c", script, "--version"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout == f"STREAMLIC, VERSION {streamlic.__version__}\n".upper()


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
