"""What a shell completes: what streamlic offers, and what bash makes of it with the script."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import run_cli


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """Return a directory with streamlic as a command."""
    command = tmp_path / "bin" / "streamlic"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m streamlic "$@"\n')
    command.chmod(0o755)
    return command.parent


async def offered(*words: str) -> str:
    """Return what streamlic offers bash for the last of the words."""
    given = {"COMP_WORDS": " ".join(["streamlic", *words]), "COMP_CWORD": str(len(words))}
    ended = await run_cli(_STREAMLIC_COMPLETE="bash_complete", **given)
    assert (ended.code, ended.err) == (0, "")
    return ended.out


def completed(commands: Path, *words: str) -> list[str]:
    """Return what bash completes for the last of the words, by the script's own function."""
    script = """
        complete() { completing=${@: -2:1}; }
        compopt() { echo "bash's own: $2"; }
        eval "$(streamlic completion bash)"
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
        "$completing" streamlic
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    env = {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}"}
    ended = subprocess.run(
        ["bash", "--norc", "-c", script, "bash", "streamlic", *words],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stderr == ""
    return ended.stdout.split("\n")[:-1]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["expo"], ["export"]),
        (["--conf"], ["--config"]),
        (["export", "--rate"], ["--rate-limit"]),
        (["export", "--engine", ""], ["auto", "reference", "fast"]),
        (["export", "--mode", "a"], ["append"]),
        (["--config", "x.toml", "export", "--compression", "z"], ["zstd"]),
        (["export", "--exclude-field", "up"], ["updated_at"]),
        (["emulate", "--sizes", "p"], ["power-law"]),
        (["head", "--table", "r"], ["runs"]),
        (["head", "--columns", "name,is_"], ["name,is_paid"]),
        (["head", "--table", "runs", "--columns", "rows"], ["rows", "rows_carried_over"]),
        (["schema", "--table", "a"], ["accounts"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
    ],
)
async def test_commands_options_and_choices_are_offered(
    words: list[str], expected: list[str]
) -> None:
    assert await offered(*words) == "".join(f"plain,{one}\n" for one in expected)


@pytest.mark.parametrize(
    "words",
    [
        ["export", ""],
        ["export", "--token-file", ""],
        ["export", "--accounts-file", ""],
        ["convert", ""],
        ["doctor", ""],
        ["head", ""],
        ["--config", ""],
    ],
)
async def test_paths_are_left_to_the_shell(words: list[str]) -> None:
    assert await offered(*words) == "file,\n"


def test_bash_completes_what_is_offered_and_paths_itself(commands: Path) -> None:
    assert completed(commands, "export", "--engine", "") == ["auto", "reference", "fast"]
    assert completed(commands, "export", "") == ["bash's own: default", ""]


async def test_a_file_that_is_wrong_does_not_disturb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("streamlic.toml").write_text("broken")
    assert await offered("export", "--mod") == "plain,--mode\n"


@pytest.mark.parametrize("shell", ["zsh", "fish"])
async def test_the_other_shells_get_their_scripts(shell: str) -> None:
    ended = await run_cli("completion", shell)
    assert ended.code == 0
    assert f"_STREAMLIC_COMPLETE={shell}_complete" in ended.out
    env = {
        "_STREAMLIC_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": "streamlic",
        "COMP_CWORD": "expo",
    }
    if shell == "zsh":
        env.update(COMP_WORDS="streamlic ex", COMP_CWORD="1")
    assert "export" in (await run_cli(**env)).out


async def test_an_unknown_shell_is_wrong_use() -> None:
    ended = await run_cli("completion", "tcsh")
    assert ended.code == 2
    assert "'bash', 'zsh', 'fish'" in ended.err
