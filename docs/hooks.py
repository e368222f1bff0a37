"""What the reference says of the code, taken from the code while the site is built.

A page holds ``<!-- generated: NAME -->``, alone on its line, where one of these goes. Of the README
it takes whole sections, so that no table stands twice. Their links lead from the page to the same
files; those outside of docs/ become part of the site.
"""

from __future__ import annotations

import inspect
import posixpath
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import click
from click.testing import CliRunner

import streamlic
from streamlic import errors
from streamlic.cli.commands import cli
from streamlic.emulator import FAULTS
from streamlic.job.options import JobOptions, default_record_bytes
from streamlic.schema.values import SCALARS

_README = Path(__file__).parent.parent / "README.md"
_ACCOUNTS = 10_000  # More than any memory has room for at once.
_MIB = 1 << 20
_NUMBER = re.compile(r"(INTEGER|FLOAT)( RANGE)?")
_PLACE = re.compile(r"^<!-- generated: ([\w ]+) -->$", re.MULTILINE)
_LINK = re.compile(r"\]\((?!\w+:|#)([^)\s#]+)")
_TABLE_ROW = re.compile(r"^\|.*\|$", re.MULTILINE)
_CODE = re.compile(r"`[^`\n]+`")


def on_files(files: Any, config: Any) -> None:
    """Add what the README links to outside of docs/. MkDocs calls this once."""
    from mkdocs.structure.files import File  # noqa: PLC0415  (only the site needs it)

    for target in sorted(set(_LINK.findall(_README.read_text()))):
        if (source := _README.parent / target).is_file() and not target.startswith("docs/"):
            files.append(File.generated(config, target, abs_src_path=str(source)))


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put what is generated in its places. MkDocs calls this for every page."""
    return page_markdown(markdown, page.file.src_uri)


def page_markdown(markdown: str, uri: str) -> str:
    """Return a page's Markdown with what is generated; ``uri`` is its path within docs/."""
    whole = _PLACE.sub(lambda place: _with_links_from(uri, place[1]), markdown)
    # A pipe in code ends no cell here, and a backslash before it would be shown.
    return _TABLE_ROW.sub(
        lambda row: _CODE.sub(lambda code: code[0].replace("\\|", "|"), row[0]), whole
    )


def _with_links_from(uri: str, name: str) -> str:
    text = generated(name)
    if not name.startswith("readme "):
        return text
    here = posixpath.dirname(uri)
    return _LINK.sub(
        lambda link: f"]({posixpath.relpath(link[1].removeprefix('docs/'), here or '.')}", text
    )


def generated(name: str) -> str:
    """Return what goes where ``name`` stands."""
    kind, _, argument = name.partition(" ")
    if kind == "readme":
        return readme_section(argument)
    return {
        "commands": commands,
        "environment": environment,
        "errors": error_codes,
        "faults": faults,
        "memory": memory,
        "names": public_names,
        "schema": schema,
        "values": values,
    }[kind]()


def readme_section(title: str) -> str:
    """Return what the README says under a heading, up to the next one."""
    found = re.search(
        rf"^#+ {title}\n+(.*?)\n*(?=^#|\Z)", _README.read_text(), re.MULTILINE | re.DOTALL
    )
    if found is None:
        raise LookupError(f"the README has no section {title!r}")
    return found[1]


def commands() -> str:
    """Return every command with its usage, its help and its options."""
    return "\n\n".join(_command(name, command) for name, command in sorted(cli.commands.items()))


def environment() -> str:
    """Return the variables that no rule tells: those that a command's own name is not part of."""
    of_commands = tuple(f"STREAMLIC_{name.upper()}_" for name in cli.commands)
    named: dict[str, list[str]] = {}
    for option in (one for command in _all_commands(cli) for one in command.params):
        for variable in _variables(option):
            spelled = f"`{max(option.opts, key=len)}`"
            if spelled not in named.setdefault(variable, []):
                named[variable].append(spelled)
    rows = [(f"`{name}`", ", ".join(options)) for name, options in sorted(named.items())
            if not name.startswith(of_commands)]  # fmt: skip
    return _table(("variable", "stands for"), [*rows, ("`TRUTO_API_TOKEN`", "the API token")])


def error_codes() -> str:
    """Return the errors that end a command, by the exit code that they lead to."""
    found = [
        one
        for one in vars(errors).values()
        if inspect.isclass(one) and issubclass(one, errors.StreamlicError)
    ]
    rows = [(str(one.exit_code), f"`{one.__name__}`", _about(one, whole=False)) for one in found]
    return _table(("code", "error", "what it is"), sorted(rows, key=lambda row: row[0]))


def faults() -> str:
    """Return what the emulator can be told to do wrong."""
    rows = [
        (f"`{name}={one.value}`" if one.value else f"`{name}`", one.about)
        for name, one in FAULTS.items()
    ]
    return _table(("fault", "what goes wrong"), rows)


def memory() -> str:
    """Return what the parts of a job take of ``--memory``."""
    sizes = [128, 256, 512, 1024]
    each = [JobOptions(memory_bytes=size * _MIB) for size in sizes]
    shares = {
        "row group, gathered to be encoded": [one.write_options.row_group_bytes for one in each],
        "page that waits to be whole": [one.write_options.page_buffer_bytes for one in each],
        "record batches that wait to be encoded": [one.batch_queue_bytes for one in each],
        **{
            f"one record, with the {engine} engine": [
                default_record_bytes(size * _MIB, engine) for size in sizes
            ]
            for engine in ("fast", "reference")
        },
        "chunks that wait to be decoded": [one.chunk_queue_bytes for one in each],
    }
    rows = [(what, *(_mib(size) for size in of)) for what, of in shares.items()]
    rows += [
        ("pages under way", *(str(one.pages_at_once(_ACCOUNTS)) for one in each)),
        ("of them large", *(str(one.large_pages_at_once(_ACCOUNTS)) for one in each)),
    ]
    return _table(("of `--memory`", *(f"{size} MiB" for size in sizes)), rows)


def public_names() -> str:
    """Return the directives by which mkdocstrings documents every public name."""
    kinds: dict[str, list[str]] = {"Functions": [], "Classes": [], "Errors": [], "Constants": []}
    for name in streamlic.__all__:
        value = getattr(streamlic, name)
        if name.startswith("_") or isinstance(value, ModuleType):
            continue
        if not inspect.isclass(value):
            kind = "Functions" if inspect.isroutine(value) else "Constants"
        else:
            kind = "Errors" if issubclass(value, Exception) else "Classes"
        kinds[kind].append(name)
    return "\n\n".join(
        f"## {kind}\n\n" + "\n\n".join(f"::: streamlic.{name}" for name in names)
        for kind, names in kinds.items()
        if names
    )


def schema() -> str:
    """Return what ``streamlic schema`` prints."""
    return f"```text\n{CliRunner().invoke(cli, ['schema']).output}```"


def values() -> str:
    """Return by which rule a JSON value becomes a column's value, by the column's type."""
    return _table(
        ("column", "takes"), [(f"`{kind}`", _about(rule)) for kind, rule in SCALARS.items()]
    )


def _all_commands(command: click.Command) -> Iterator[click.Command]:
    yield command
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            yield from _all_commands(inner)


def _command(name: str, command: click.Command) -> str:
    ctx = click.Context(command, info_name=f"streamlic {name}")
    rows = [_option(one, ctx) for one in command.params if isinstance(one, click.Option)]
    parts = [
        f"## streamlic {name}",
        f"```text\n{' '.join([ctx.command_path, *command.collect_usage_pieces(ctx)])}\n```",
        _prose(command.help),
        _table(("option", "meaning", "default"), rows) if rows else "",
        _prose(command.epilog),
    ]
    if isinstance(command, click.Group):
        parts += [_command(f"{name} {one}", inner) for one, inner in command.commands.items()]
    return "\n\n".join(filter(None, parts))


def _prose(text: str | None) -> str:
    """Return a help's text; a paragraph that Click is not to wrap becomes a block."""
    kept, shown = "\b\n", "```text\n{}\n```"
    return "\n\n".join(
        shown.format(one.removeprefix(kept).strip()) if one.startswith(kept) else one
        for one in inspect.cleandoc(text or "").split("\n\n")
    )


def _option(option: click.Option, ctx: click.Context) -> tuple[str, str, str]:
    spelled = ", ".join(f"`{one}`" for one in (*option.opts, *option.secondary_opts))
    if not option.is_flag:
        metavar = option.make_metavar(ctx).strip("[]")
        spelled = f"{spelled[:-1]} {_NUMBER.sub('N', metavar)}`"
    default = option.to_info_dict()["default"] if option.show_default else None
    if isinstance(option.show_default, str):  # The default follows from what is there.
        default = option.show_default
    return (
        spelled.replace("|", "\\|"),
        (option.help or "").replace("|", "\\|"),
        "" if default is None else f"`{default}`",
    )


def _variables(option: click.Parameter) -> Iterator[str]:
    given = option.envvar
    yield from [given] if isinstance(given, str) else given or ()


def _mib(size: int) -> str:
    return f"{size / _MIB:.3g} MiB"


def _about(documented: Any, *, whole: bool = True) -> str:
    """Return a docstring, or its first paragraph, on one line that a table can hold."""
    doc = inspect.getdoc(documented) or ""
    text = " ".join((doc if whole else doc.partition("\n\n")[0]).split())
    return re.sub(r"``(.*?)``", r"`\1`", text).replace("|", "\\|")


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
