"""Where a command's options come from: command line, environment, file, default, in this order.

An option from a higher-priority source also overrides conflicting ones from lower-priority sources:
``--account`` on the command line overrides a file's ``all-accounts``. A UsageError names the source
of an option that was not on the command line.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from streamlic.cli.config_file import Setting, read_config
from streamlic.cli.help import write_options
from streamlic.cli.option_names import (
    CONFIG_VARIABLE,
    DEFAULT_FILE,
    OptionNames,
    key_of,
    options_of,
    unknown_variables,
    variable_of,
)
from streamlic.errors import UsageError
from streamlic.formatting import option_of
from streamlic.terminal.log import Log
from streamlic.truto.credentials import TOKEN_VARIABLE

_OTHER_VARIABLES = {CONFIG_VARIABLE, "STREAMLIC_NO_FAST"}
_SOURCES = (
    ParameterSource.COMMANDLINE,
    ParameterSource.ENVIRONMENT,
    ParameterSource.DEFAULT_MAP,
)
_ALTERNATIVES = (
    ("account", "accounts-file", "all-accounts"),
    ("limit", "ignore-limit"),
    ("quiet", "verbose"),
    ("csv", "json"),
)
_FILTERS = ("integration", "tenant")  # Of all accounts.
_FILE_SETTINGS = f"{__name__}.file_settings"


def config_path(ctx: click.Context) -> Path | None:
    """Return the file with options, None if there is none."""
    named = ctx.find_root().params.get("config")
    if named:
        return Path(named)
    found = Path(DEFAULT_FILE)
    return found if found.exists() else None


def variables_not_read(ctx: click.Context) -> dict[str, str | None]:
    """Return the variables that set no option, each with the most similar one that does."""
    group, known = ctx.find_root().command, set(_OTHER_VARIABLES)
    if isinstance(group, click.Group):
        known |= OptionNames(group.commands).variables()
    return unknown_variables(os.environ, known)


class SettingsCommand(click.Command):
    """A command whose options can come from the environment and from a file."""

    warns_of_variables = True
    """Whether it warns of variables that set no option, before it starts."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take options from all sources. --help works even if the file is invalid."""
        wrong_file = None
        if not ctx.resilient_parsing:
            try:
                self._read_file(ctx)
            except UsageError as error:
                wrong_file = error
        try:
            rest = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.option_name == "--config":
                raise click.UsageError(
                    f"--config belongs before the command: streamlic --config FILE {self.name}", ctx
                ) from error
            raise
        except click.BadParameter as error:
            if isinstance(error.param, click.Option) and (origin := _origin(ctx, error.param)):
                raise click.BadParameter(
                    f"{error.message} (from {origin})", ctx=error.ctx, param=error.param
                ) from error
            raise
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # Click leaves it out for a missing value.
            raise
        if wrong_file:
            raise wrong_file
        self._override(ctx)
        return rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a UsageError names its option, and the source of each option in it."""
        if self.warns_of_variables:
            for name, nearest in variables_not_read(ctx).items():
                meant = f": did you mean {nearest}?" if nearest else ""
                ctx.ensure_object(Log).warning(f"{name} sets no option{meant}")
        try:
            return super().invoke(ctx)
        except UsageError as error:
            error.args = (self._with_origins(ctx, error.with_advice(option_of)),)
            error.parameter, error.advice = None, ""  # The message names the options now.
            raise

    def _with_origins(self, ctx: click.Context, message: str) -> str:
        """Return a message with the source of each option that it names."""
        own = options_of(self)
        apart = []
        for key in dict.fromkeys(re.findall(r"--([a-z]+(?:-[a-z]+)*)", message)):
            origin = _origin(ctx, own[key]) if key in own else None
            if origin and f"(--{key})" in message:
                message = message.replace(f"(--{key})", f"(--{key}, from {origin})")
            elif origin:
                apart.append(f"--{key} is from {origin}")
        return f"{message} [{'; '.join(apart)}]" if apart else message

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in their groups."""
        write_options(self, ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Name the other ways to set options."""
        super().format_epilog(ctx, formatter)
        example = next(iter(options_of(self)), None)
        if example:
            formatter.write_paragraph()
            formatter.write_text(
                "Each option can also be set in the environment, such as "
                f"{variable_of(self.name or '', example)}, or in a file: see streamlic --help."
            )

    def _read_file(self, ctx: click.Context) -> None:
        path, group = config_path(ctx), ctx.find_root().command
        if path is None or not isinstance(group, click.Group):
            return
        is_named = bool(ctx.find_root().params.get("config"))
        settings = read_config(path, group.commands, is_named=is_named)[self.name or ""]
        own = options_of(self)
        ctx.default_map = {own[key].name: one.value for key, one in settings.items()}
        ctx.meta[_FILE_SETTINGS] = settings

    def _override(self, ctx: click.Context) -> None:
        """Let options from higher-priority sources override conflicting ones from lower ones."""
        own = options_of(self)
        for alternatives in _ALTERNATIVES:
            given = {key: _rank(ctx, own[key]) for key in alternatives if key in own}
            highest = min(given.values(), default=len(_SOURCES))
            for key, rank in given.items():
                if rank > highest:
                    _reset(ctx, own[key])
            if "all-accounts" in given and not ctx.params[own["all-accounts"].name]:
                for key in _FILTERS:
                    if _rank(ctx, own[key]) > highest:
                        _reset(ctx, own[key])
        token_file = own.get("token-file")
        if token_file and os.environ.get(TOKEN_VARIABLE):
            source = ctx.get_parameter_source(token_file.name)
            if source is ParameterSource.DEFAULT_MAP:  # The variable has priority over the file.
                _reset(ctx, token_file)


def _origin(ctx: click.Context, option: click.Option) -> str | None:
    """Return the source of an option's value, None for the command line and the default."""
    source = ctx.get_parameter_source(option.name)
    if source is ParameterSource.ENVIRONMENT:
        return next((one for one in option.envvar or () if os.environ.get(one)), None)
    if source is ParameterSource.DEFAULT_MAP:
        settings: dict[str, Setting] = ctx.meta[_FILE_SETTINGS]
        return settings[key_of(option)].origin
    return None


def _rank(ctx: click.Context, option: click.Option) -> int:
    """Return the rank of an option's source: 0 for the command line, the highest priority."""
    source = ctx.get_parameter_source(option.name)
    is_given = ctx.params[option.name] and source in _SOURCES
    return _SOURCES.index(source) if is_given and source else len(_SOURCES)


def _reset(ctx: click.Context, option: click.Option) -> None:
    ctx.set_parameter_source(option.name, ParameterSource.DEFAULT)
    ctx.params[option.name] = False if option.is_flag else () if option.multiple else None
