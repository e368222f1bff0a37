"""Checks the words of every error that a test makes streamlic raise.

An error may reach a user of Python or of the command line. So neither an option nor an argument may
be in its message: only ``parameter`` and ``advice`` name them, for each face to spell.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from functools import cache
from typing import Any

import click

from streamlic.cli.commands.group import cli
from streamlic.cli.option_names import key_of
from streamlic.errors import StreamlicError
from streamlic.formatting import option_of
from streamlic.job.limits import Limits
from streamlic.job.settings import JobSettings
from streamlic.truto.retry import RetryPolicy
from streamlic.truto.settings import ConnectionSettings
from streamlic.truto.timeouts import Timeouts

_PLACEHOLDER = re.compile(r"\{(\w+)(?:=(\w+))?\}")
_OF_PYTHON = {
    *("next_cursor", "row_group_bytes", "page_row_group_bytes", "page_buffer_bytes"),
    *("batch_rows", "batch_bytes", "max_rescued", "token_rate_limit"),
    *("fallback", "key_file", "key_variable"),
}
"""Parameters that the command line never gives."""
_SETTINGS = (JobSettings, Limits, ConnectionSettings, RetryPolicy, Timeouts)


def wrong_words(message: str, parameter: str | None = None, advice: str = "") -> list[str]:
    """Return what is wrong with the words of an error."""
    options, options_named, arguments_named = _names()
    wrong = []
    plain = _PLACEHOLDER.sub("", advice)
    for text in (message, plain):
        if found := options_named.search(text):
            wrong.append(f"the option {found[0]} in {text!r}: Python has none")
        if found := arguments_named.search(text):
            wrong.append(f"the argument {found[0]} in {text!r}: the command line has none")
    named = [(parameter, "")] if parameter else []
    for name, value in [*named, *_PLACEHOLDER.findall(advice)]:
        option = option_of(name, value).partition(" ")[0]
        if option not in options and name not in _OF_PYTHON:
            wrong.append(f"{name} as {option}, which no command has")
    return wrong


def options_in(text: str) -> list[str]:
    """Return the options of streamlic's commands that a text names."""
    return _names()[1].findall(text)


@cache
def _names() -> tuple[frozenset[str], re.Pattern[str], re.Pattern[str]]:
    every = [one for command in cli.commands.values() for one in command.params]
    given = [one for one in every if isinstance(one, click.Option)]
    options = {"DEST", *(name for one in given for name in (*one.opts, *one.secondary_opts))}
    keys = "|".join(sorted({key_of(one) for one in given}))
    settings = {field.name for kind in _SETTINGS for field in fields(kind)}
    bare = "|".join(sorted(name for name in settings if "_" in name))
    bracketed = "|".join(sorted(settings))
    return (
        frozenset(options),
        re.compile(rf"(?<![\w-])--(?:no-)?(?:{keys})\b(?!-)|\bDEST\b"),
        re.compile(rf"\b(?:{bare})\b|\((?:{bracketed})\)"),
    )


def _raised_in() -> str:
    """Return the module that made the error which is being initialized."""
    frame = sys._getframe(2)  # there is no public way
    while frame.f_back and frame.f_code.co_name == "__init__":
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", ""))


@contextmanager
def checked_errors() -> Iterator[list[str]]:
    """Check every error that streamlic makes; yield the list of what was wrong.

    Those of the command line itself may name options: no one else reads them.
    """
    plain, wrong = StreamlicError.__init__, list[str]()

    def checking(self: StreamlicError, *args: object, **given: Any) -> None:
        plain(self, *args, **given)
        module = _raised_in()
        if module.startswith("streamlic.") and not module.startswith("streamlic.cli."):
            found = wrong_words(*map(str, args[:1]), **given)
            wrong.extend(f"{type(self).__name__} of {module} has {one}" for one in found)

    StreamlicError.__init__ = checking  # type: ignore[method-assign]
    try:
        yield wrong
    finally:
        StreamlicError.__init__ = plain  # type: ignore[method-assign]
