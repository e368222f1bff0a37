"""The group of all commands: it answers ``--help`` without loading them."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from importlib import import_module
from typing import Any

import click

from streamlic.cli.option_names import CONFIG_VARIABLE, DEFAULT_FILE, OptionNames

config_option = click.option(
    "--config", type=click.Path(), metavar="FILE", envvar=CONFIG_VARIABLE, show_envvar=True,
    help=f"TOML file with options; by default {DEFAULT_FILE} in this directory, if it is there.",
)  # fmt: skip

EPILOG = """\
Options of commands can also be set in the environment or in a TOML file. The command line has
priority over the environment, the environment over the file, and the file over the default.

\b
option of export         variable                     key in the table [export]
--rate-limit 9/1s        STREAMLIC_EXPORT_RATE_LIMIT  rate-limit = "9/1s"
--strict                 STREAMLIC_EXPORT_STRICT=1    strict = true
--account A --account B  STREAMLIC_EXPORT_ACCOUNT     account = ["A", "B"]

An option that several commands share can leave out the command: STREAMLIC_RATE_LIMIT, or rate-limit
before the first table. The token is read from TRUTO_API_TOKEN or from a file (--token-file).
"""


class CommandGroup(click.Group):
    """A group of commands, each in a module of its name, with a summary of each.

    All are loaded when one is needed: which options they share decides the names of each.
    """

    def __init__(self, *args: Any, summaries: Mapping[str, str], **attributes: Any) -> None:
        self.summaries = summaries
        """The first sentence of each command's help, by its name."""
        self._loaded: dict[str, click.Command] = {}
        super().__init__(*args, **attributes)

    @property
    def commands(self) -> MutableMapping[str, click.Command]:
        """The commands, in the order of ``summaries``."""
        if not self._loaded:
            for name in self.summaries:
                module = import_module(f"streamlic.cli.commands.{name}")
                self._loaded[name] = getattr(module, name)
            OptionNames(self._loaded).give_variables()
        return self._loaded

    @commands.setter
    def commands(self, _: object) -> None:
        """Take no other commands: Click sets an empty mapping when it makes a group."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write each command with its whole first sentence."""
        with formatter.section("Commands"):
            formatter.write_dl([*self.summaries.items()])
