"""How ``--help`` is laid out: options in groups, examples, and commands with a whole sentence."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import click

Command = Callable[..., Any]
OPTIONS = "Options"
"""The group of an option that has none."""


class GroupedOption(click.Option):
    """An option that ``--help`` lists under the title of its group."""

    def __init__(self, *args: Any, group: str = OPTIONS, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.group = group


def group(title: str) -> Callable[..., Callable[[Command], Command]]:
    """Return ``click.option`` for the options of a group."""
    return partial(click.option, cls=GroupedOption, group=title)


def write_options(command: click.Command, ctx: click.Context, to: click.HelpFormatter) -> None:
    """Write the options of a command, a section for each group, in the order of the options."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for option in command.get_params(ctx):
        row = option.get_help_record(ctx) if isinstance(option, click.Option) else None
        if row:
            groups.setdefault(getattr(option, "group", OPTIONS), []).append(row)
    for title, rows in sorted(groups.items(), key=lambda one: one[0] == OPTIONS):
        with to.section(title):
            to.write_dl(rows)


def first_sentence(command: click.Command) -> str:
    """Return the first sentence of a command's help, on one line."""
    paragraph = inspect.cleandoc(command.help or "").partition("\n\n")[0]
    return " ".join(paragraph.split()).partition(". ")[0].rstrip(".")
