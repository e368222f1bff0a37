"""The README tells every command, option and exit code, and its Python runs."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from streamlic.cli import cli
from streamlic.config_file import read_config
from streamlic.decoder import open_decoder

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


def test_the_files_example_is_taken(tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", README, re.DOTALL)
    assert example is not None
    path = tmp_path / "streamlic.toml"
    path.write_text(example[1])
    export = read_config(path, cli.commands, is_named=False)["export"]
    assert export["query"].value == ["updated_at[gt]=2026-01-01T00:00:00+00:00"]
    assert export["memory"].value == 512 << 20


def test_the_decoders_example_runs() -> None:
    decoder = open_decoder()
    example = re.search(r"decoder\.feed\((b'.*?')\)", README)
    assert example is not None
    body = example[1][2:-1].encode()
    batches = decoder.feed(body) + decoder.close()
    assert sum(batch.num_rows for batch in batches) == 1
