"""Options from a TOML file: read, checked as a whole, and sorted by command.

Rules:
1. Keys are the long names of options (``option_names``). A table holds the options of the command
   that it is named after; shared options come before the first table.
2. The whole file is checked, whichever command runs. An error is a UsageError that names the file,
   the key, and what is allowed.
3. Paths are relative to the file.
4. The file never contains the token: such files are copied, shared and committed. A file that was
   found, not named, must not set where the token is sent: otherwise anyone who can write a file
   into the working directory could receive the token.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Any

import click

from streamlic.cli.option_names import Commands, OptionNames
from streamlic.cli.types import Size
from streamlic.errors import UsageError
from streamlic.system.text_files import decoded
from streamlic.truto.query import encode_parameter

_TOKENS_WAY = ("base-url", "allow-http", "ca-file")
_ASSIGNMENT = "K=V"
_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "true or false"),  # Before numbers: to Python it is one.
    (int, "a whole number"),
    (float, "a number"),
    (str, "a text"),
    (list, "an array"),
    (dict, "a table"),
    ((date, time), "a date or a time"),
)


@dataclass(frozen=True)
class Setting:
    """An option's value for Click, and its place in the file."""

    value: Any
    origin: str


Settings = dict[str, dict[str, Setting]]
"""By command, and then by the option's key."""


def read_config(path: Path, commands: Commands, *, is_named: bool) -> Settings:
    """Return a file's settings for each command; UsageError if the file is invalid."""
    return _ConfigFile(path, OptionNames(commands), is_named=is_named).settings()


class _ConfigFile:
    def __init__(self, path: Path, names: OptionNames, *, is_named: bool) -> None:
        self._path = path
        self._names = names
        self._is_named = is_named

    def settings(self) -> Settings:
        content = _content(self._path)
        given: Settings = {}
        for key, value in content.items():
            if key in self._names.options:
                given[key] = self._table(key, value)
            else:
                given.setdefault("", {})[key] = self._shared(key, value)
        return {
            command: {
                key: given[level][key]
                for key in own
                for level in reversed([*self._names.levels(command, key)])
                if key in given.get(level, {})
            }
            for command, own in self._names.options.items()
        }

    def _table(self, command: str, table: Any) -> dict[str, Setting]:
        if not isinstance(table, dict):
            raise self._error(command, f"expected a table, got {_shown(table)}")
        own = self._names.options[command]
        for key in table.keys() - own.keys():
            raise self._unknown(f"[{command}] {_named(key)}", key, own)
        return {key: self._setting(own[key], f"[{command}] {key}", value, key)
                for key, value in table.items()}  # fmt: skip

    def _shared(self, key: str, value: Any) -> Setting:
        if key in self._names.shared:
            return self._setting(next(iter(self._names.shared[key].values())), key, value, key)
        if isinstance(value, dict):
            raise self._unknown(f"[{_named(key)}]", key, self._names.options, what="table")
        having = [f"[{name}]" for name, own in self._names.options.items() if key in own]
        if having and not _is_token(key):
            raise self._error(key, f"this option is not shared by commands: put it below "
                              f"{' or '.join(having)}")  # fmt: skip
        raise self._unknown(_named(key), key, self._names.shared)

    def _setting(self, option: click.Option, place: str, value: Any, key: str) -> Setting:
        if key in _TOKENS_WAY and not self._is_named:
            raise self._error(
                place,
                "only a file named with --config may set where the token is sent: use "
                f"--config {self._path}, or give --{key}",
            )
        try:
            return Setting(_value(option, value, self._path.parent), f"{self._path}: {place}")
        except _Unfit as unfit:
            raise self._error(place, str(unfit)) from None

    def _unknown(
        self, place: str, key: str, allowed: Iterable[str], what: str = "key"
    ) -> UsageError:
        if _is_token(key):
            return self._error(
                place,
                "the API token does not belong in this file, because such files are copied, shared "
                "and committed: put it into a file that only you can read (token-file) or into "
                "TRUTO_API_TOKEN",
            )
        allowed = sorted(allowed)
        meant = difflib.get_close_matches(key.lower().replace("_", "-"), allowed, 1)
        hint = f" (did you mean {meant[0]}?)" if meant else ""
        return self._error(place, f"unknown {what}{hint}: expected {', '.join(allowed)}")

    def _error(self, place: str, text: str) -> UsageError:
        return UsageError(f"{self._path}: {place}: {text}")


def _named(key: str) -> str:
    return key if re.fullmatch(r"[\w-]{1,60}", key) else repr(key[:60])


def _is_token(key: str) -> bool:
    return "token" in key.lower()


class _Unfit(Exception):
    """A value does not fit its option."""


def _content(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(decoded(path.read_bytes()))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror} (--config)") from error
    except (
        UsageError,
        ValueError,
        RecursionError,
    ) as error:  # Such as for a number of too many digits.
        raise UsageError(f"{path} is not valid TOML: {error} (--config)") from error


def _value(option: click.Option, value: Any, folder: Path) -> Any:
    if option.is_flag:
        return _one_of(value, bool)
    if not option.multiple:
        return _single(option, value, folder)
    if option.metavar == _ASSIGNMENT and isinstance(value, dict):
        value = [f"{name}={text}" for key, inner in value.items()
                 for name, text in encode_parameter(key, inner)]  # fmt: skip
    if not isinstance(value, list):
        table = ", or a table" if option.metavar == _ASSIGNMENT else ""
        raise _Unfit(f"expected an array of texts{table}, got {_shown(value)}")
    return [_single(option, one, folder) for one in value]


def _single(option: click.Option, value: Any, folder: Path) -> Any:
    """Return a value that the option's type accepts."""
    kind = option.type
    if isinstance(kind, click.types.IntParamType):
        taken = _one_of(value, int)
    elif isinstance(kind, click.types.FloatParamType):
        taken = _one_of(value, int, float)
    elif isinstance(kind, Size):
        taken = _one_of(value, int, str)
    else:
        taken = _one_of(value, str)
    if isinstance(taken, str) and "\0" in taken:
        raise _Unfit("expected a text without NUL")
    if isinstance(kind, click.Path) and taken != "-":
        try:
            taken = str(folder / Path(taken).expanduser())
        except RuntimeError as error:
            raise _Unfit(f"expected a path, got {taken}: {error}") from error
    try:
        return kind.convert(taken, option, None)
    except click.BadParameter as error:
        raise _Unfit(error.message.rstrip(".")) from error
    except OverflowError as error:  # An integer may be more than any float.
        raise _Unfit("expected a number, got one of too many digits") from error


def _one_of(value: Any, *kinds: type) -> Any:
    if isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)):
        return value
    expected = " or ".join(name for kind, name in _KINDS if kind in kinds)
    raise _Unfit(f"expected {expected}, got {_shown(value)}")


def _shown(value: Any) -> str:
    """Return the kind of a value, with its content if that is short."""
    name = next(name for kind, name in _KINDS if isinstance(value, kind))
    if isinstance(value, list | dict):
        return name
    return f"{name}, {str(value)[:60]!r}" if isinstance(value, str) else str(value)[:60]
