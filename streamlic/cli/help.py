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
    """Write the options of a command, a section for each group."""
    options = [one for one in command.get_params(ctx) if isinstance(one, click.Option)]
    for title, group in in_groups(options).items():
        with to.section(title):
            to.write_dl([row for one in group if (row := one.get_help_record(ctx))])


def in_groups(options: list[click.Option]) -> dict[str, list[click.Option]]:
    """Return options by the titles of their groups, in their order; those without a group last."""
    groups: dict[str, list[click.Option]] = {}
    for option in options:
        groups.setdefault(getattr(option, "group", OPTIONS), []).append(option)
    return dict(sorted(groups.items(), key=lambda one: one[0] == OPTIONS))


def first_sentence(command: click.Command) -> str:
    """Return the first sentence of a command's help, on one line."""
    paragraph = inspect.cleandoc(command.help or "").partition("\n\n")[0]
    return " ".join(paragraph.split()).partition(". ")[0].rstrip(".")
