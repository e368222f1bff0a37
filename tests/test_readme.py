"""The README tells every command, option and exit code, and its Python runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pyarrow.dataset as ds
import pytest

from streamlic.cli.commands import cli
from streamlic.cli.config_file import read_config
from streamlic.emulator import EmulatedAccount, EmulatorConfig
from tests.support.cli import TOKEN
from tests.support.examples import run_page
from tests.support.server_thread import served

README = (Path(__file__).parent.parent / "README.md").read_text()
OPTIONS = [
    (name, option)
    for name, command in [("", cli), *cli.commands.items()]
    for option in command.params
    if isinstance(option, click.Option)
]


@pytest.mark.parametrize("name", cli.commands)
def test_every_command_has_help_and_stands_in_the_readme(name: str) -> None:
    assert cli.commands[name].help
    assert f"streamlic {name}" in README


@pytest.mark.parametrize(
    ("name", "option"), OPTIONS, ids=lambda value: getattr(value, "name", value)
)
def test_every_option_has_help_and_stands_in_the_readme(name: str, option: click.Option) -> None:
    assert option.help, name
    for text in option.opts + option.secondary_opts:
        assert re.search(rf"`[^`\n]*{re.escape(text)}\b", README), f"{name} {text}"


EXAMPLES = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
RUN = """
import ast, asyncio, inspect, sys
code = compile(sys.stdin.read(), "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
async def in_a_loop():
    awaited = eval(code, {"__name__": "__main__"})
    if inspect.isawaitable(awaited):
        await awaited
if "--in-a-loop" in sys.argv:
    asyncio.run(in_a_loop())
else:
    exec(code, {"__name__": "__main__"})
"""
"""Runs a program from standard input, as a script does, or as a notebook's cell is run."""


def _needs_a_loop(example: str) -> bool:
    return "async with" in example


@pytest.mark.parametrize(
    ("number", "in_a_loop"),
    [(i, loop) for i, example in enumerate(EXAMPLES) for loop in (False, True)
     if loop or not _needs_a_loop(example)],
)  # fmt: skip
def test_an_example_runs_against_a_real_server(
    tmp_path: Path, number: int, in_a_loop: bool
) -> None:
    """As it stands, with nothing but the environment told where the API is."""
    example = EXAMPLES[number]
    with served(EmulatorConfig(records=1000, token=TOKEN)) as emulator:
        ended = subprocess.run(
            [sys.executable, "-c", RUN, *(["--in-a-loop"] if in_a_loop else [])],
            input=example,
            env={**os.environ, "TRUTO_API_TOKEN": TOKEN, "TRUTO_API_BASE_URL": emulator.url},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, "")
        assert bool(emulator.requests) == ("open_decoder" not in example)
    prints = re.findall(r"# prints (.*)", example)
    assert not prints or ended.stdout.splitlines() == prints
    for dataset in tmp_path.iterdir():
        assert ds.dataset(dataset).count_rows() in (1000, 2000)


def test_there_is_an_example_of_each_call() -> None:
    for call in ("export(", "read_licenses(", "Client(", "open_decoder(", "cancel=cancel"):
        assert any(call in example for example in EXAMPLES), call


def test_the_files_example_is_taken(tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", README, re.DOTALL)
    assert example is not None
    path = tmp_path / "streamlic.toml"
    path.write_text(example[1])
    export = read_config(path, cli.commands, is_named=False)["export"]
    assert export["query"].value == ["updated_at[gt]=2026-01-01T00:00:00+00:00"]
    assert export["memory"].value == 512 << 20


def test_what_is_typed_into_a_shell_runs(tmp_path: Path) -> None:
    """Every line of it that is streamlic's or reads a dataset, in the order of the page."""
    lines = re.findall(r"^    ((?:streamlic|python) .*)", README, re.MULTILINE)
    typed = [line for line in lines if not line.startswith("python -m benchmarks")]
    assert len(typed) >= 7
    customers = re.search(r"^    (account,product.*\n)((?:    .*\n)+)", README, re.MULTILINE)
    assert customers is not None
    rows = re.sub(r"^    ", "", customers[1] + customers[2], flags=re.MULTILINE)
    shell = [f"cat > customers.csv <<'EOF'\n{rows}EOF"]
    for line in typed:
        shell += ["rm -rf licenses"] * line.startswith("streamlic export") + [line]
    first, second = (row.split(",")[0] for row in rows.splitlines()[1:])
    accounts = {
        first: EmulatedAccount(id=first, records=300, integration="microsoft365"),
        second: EmulatedAccount(id=second, records=200),
    }
    page = "\n".join(["```sh", *shell, "```", ""])
    with served(EmulatorConfig(token=TOKEN, accounts=accounts)) as emulator:
        run_page(page, tmp_path, TRUTO_API_TOKEN=TOKEN, TRUTO_API_BASE_URL=emulator.url)
