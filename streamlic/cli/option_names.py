"""The names of an option in the environment and in a file: one rule for both.

Rules:
1. ``--rate-limit`` of ``export`` is ``STREAMLIC_EXPORT_RATE_LIMIT``, and ``rate-limit`` in the
   table ``[export]``.
2. An option that commands share, of one name and one kind, is ``STREAMLIC_RATE_LIMIT`` too, and
   ``rate-limit`` before the first table. The command's own name has priority.
3. ``doctor`` stands for ``export``: it also reads the settings of ``export``, except those of the
   output, if it has none of its own.
4. ``--restart`` and ``--take-over`` have no name: a setting would discard the run again each time
   it is resumed, and take the lake from a writer that is at work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import click

PREFIX = "STREAMLIC"
STANDS_FOR = {"doctor": "export"}
_FOR_ONCE = frozenset({"restart", "take-over"})
_PRESENTATION = frozenset({"json", "quiet", "verbose"})

Commands = Mapping[str, click.Command]


def key_of(option: click.Option) -> str:
    """Return an option's long name without its dashes."""
    return max(option.opts, key=len).removeprefix("--")


def options_of(command: click.Command) -> dict[str, click.Option]:
    """Return a command's options by their keys."""
    return {key_of(one): one for one in command.params if isinstance(one, click.Option)}


def variable_of(level: str, key: str) -> str:
    """Return the variable that holds an option of a command, or of all where ``level`` is ""."""
    return "_".join([PREFIX, *filter(None, [level]), key]).upper().replace("-", "_")


def unknown_variables(given: Iterable[str], known: Iterable[str]) -> dict[str, str | None]:
    """Return the unknown variables with our prefix, each with the most similar known one."""
    endings = {name.removeprefix(f"{PREFIX}_"): name for name in sorted(known)}
    ours = sorted(
        name.removeprefix(f"{PREFIX}_") for name in given if name.startswith(f"{PREFIX}_")
    )
    unknown = [name for name in ours if name not in endings]
    if not unknown:
        return {}
    import difflib

    near = {name: difflib.get_close_matches(name, endings, 1) for name in unknown}
    return {f"{PREFIX}_{name}": endings[found[0]] if found else None
            for name, found in near.items()}  # fmt: skip


CONFIG_VARIABLE = variable_of("", "config")
DEFAULT_FILE = "streamlic.toml"
"""The file with options that is read if it is in the working directory."""


class OptionNames:
    """The options of some commands, and the names of each."""

    def __init__(self, commands: Commands) -> None:
        every = {name: options_of(one) for name, one in commands.items()}
        self.options = {
            name: {key: option for key, option in own.items() if key not in _FOR_ONCE}
            for name, own in every.items()
            if own
        }
        """The options of each command that has any, by their keys."""
        keys = sorted({key for own in self.options.values() for key in own})
        self.shared = {key: alike for key in keys if (alike := self._alike(key))}
        """The options that commands share: by key, and then by the command's name."""

    def levels(self, command: str, key: str) -> Iterator[str]:
        """Yield the levels at which an option can be set, first the one with priority.

        A level is a command's name, or "" for all commands.
        """
        yield command
        sharing = self.shared.get(key, {})
        if command in sharing:
            other = STANDS_FOR.get(command)
            if other in sharing and key not in _PRESENTATION:
                yield other
            yield ""

    def give_variables(self) -> None:
        """Give every option its variables, with priority over those that it has."""
        for command, own in self.options.items():
            for key, option in own.items():
                had = [option.envvar] if isinstance(option.envvar, str) else option.envvar or ()
                given = [variable_of(level, key) for level in self.levels(command, key)]
                option.envvar = [*given, *had]

    def variables(self) -> set[str]:
        """Return the variables that options are read from."""
        options = [option for own in self.options.values() for option in own.values()]
        return {variable for option in options for variable in option.envvar or ()}

    def _alike(self, key: str) -> dict[str, click.Option]:
        having = {name: own[key] for name, own in self.options.items() if key in own}
        kinds = {name: _kind(option) for name, option in having.items()}
        return {
            name: option
            for name, option in having.items()
            if list(kinds.values()).count(kinds[name]) > 1
        }


def _kind(option: click.Option) -> tuple[object, ...]:
    return option.type.to_info_dict(), option.multiple, option.is_flag
