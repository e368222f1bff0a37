"""The reference in docs/ says what the code says, and leaves nothing out."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import click
import pytest

from streamlic import errors
from streamlic.cli.commands import cli
from streamlic.dataset.column_meanings import MEANINGS
from streamlic.dataset.lake import TABLES, schema_of
from streamlic.resources.license_schema import LICENSE_SCHEMA
from tests.support.examples import ROOT, module_of_docs

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
GENERATED = [page for page in PAGES if "<!-- generated: " in page.read_text()]
COMMAND_LINE = (DOCS / "reference" / "command-line.md").read_text()
EXIT_CODES = (DOCS / "reference" / "exit-codes.md").read_text()
OPTIONS = [
    (name, option)
    for name, command in cli.commands.items()
    for option in command.params
    if isinstance(option, click.Option)
]


def section_of(name: str) -> str:
    """Return what the reference says of a command."""
    found = re.search(
        rf"^## streamlic {name}\n(.*?)(?=^## )", COMMAND_LINE, re.DOTALL | re.MULTILINE
    )
    assert found is not None
    return found[1]


@pytest.mark.parametrize("page", GENERATED, ids=lambda page: page.stem)
def test_a_page_equals_what_the_code_says(page: Path) -> None:
    text = page.read_text()
    assert text == module_of_docs("generate").rewritten(text), "run `make reference`"


@pytest.mark.parametrize(
    "page",
    ["<!-- generated: values -->\n<!-- end -->", "<!-- generated: values -->\nold\n\n<!-- end -->"],
)
def test_a_block_is_replaced_whatever_it_holds(page: str) -> None:
    rewritten = module_of_docs("generate").rewritten(f"above\n{page}\nbelow\n")
    assert re.match(r"above\n<!-- generated: values -->\n\n\| column \|", rewritten)
    assert rewritten.endswith("|\n\n<!-- end -->\nbelow\n")
    assert "old" not in rewritten


@pytest.mark.parametrize("table", TABLES)
def test_every_column_has_a_meaning(table: str) -> None:
    assert [*MEANINGS[table]] == schema_of(table, LICENSE_SCHEMA).names


def test_every_block_has_an_end() -> None:
    for page in GENERATED:
        text = page.read_text()
        assert text.count("<!-- generated: ") == text.count("<!-- end -->"), page


@pytest.mark.parametrize("name", cli.commands)
def test_every_command_has_help_and_is_in_the_reference(name: str) -> None:
    assert cli.commands[name].help
    assert section_of(name)


@pytest.mark.parametrize(
    ("name", "option"), OPTIONS, ids=lambda value: getattr(value, "name", value)
)
def test_every_option_has_help_and_is_in_the_reference(name: str, option: click.Option) -> None:
    assert option.help, name
    section = section_of(name)
    for text in option.opts + option.secondary_opts:
        assert re.search(rf"^\| .*`{re.escape(text)}[ `]", section, re.MULTILINE), text


def test_every_metavar_is_whole() -> None:
    assert "`--fault FAULT[@WHEN]`" in COMMAND_LINE


def test_every_exit_code_is_in_the_table() -> None:
    codes = {one.exit_code for one in vars(errors).values() if hasattr(one, "exit_code")}
    signals = {128 + one for one in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
    table = EXIT_CODES.partition("\n## ")[0]
    listed = re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE)
    assert {int(code) for cell in listed for code in cell.split(",")} == {
        0,
        3,
        *codes,
        errors.NO_RETRY_HELPS,
        *signals,
    }


@pytest.mark.parametrize("name", ["export", "accounts", "convert", "doctor"])
def test_a_command_lists_its_options_in_the_groups_of_its_help(name: str) -> None:
    command = cli.commands[name]
    with click.Context(command, info_name=name) as ctx:
        titles = re.findall(r"^([A-Z][\w ]+):$", command.get_help(ctx), re.MULTILINE)
    in_help = [one for one in titles if one not in ("Examples", "Options")]
    assert re.findall(r"^\*\*(.+)\*\*$", section_of(name), re.MULTILINE) == in_help
    assert len(in_help) > 1
