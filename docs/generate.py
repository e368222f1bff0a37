"""Generate the reference from the code, into the pages of docs/.

``python -m docs.generate`` (``make reference``) rewrites every block between
``<!-- generated: NAME -->`` and ``<!-- end -->``. The blocks are committed, so a page is complete
on the forge. A test fails when a block differs from the code.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

import streamlic
from benchmarks import encoding
from benchmarks import readme as figures
from streamlic import errors
from streamlic.answers.describe import DEFINITIONS
from streamlic.cli.commands import cli
from streamlic.cli.help import in_groups
from streamlic.dataset.column_meanings import MEANINGS
from streamlic.dataset.lake import schema_of
from streamlic.emulator import FAULTS
from streamlic.job.options import JobOptions, default_record_bytes
from streamlic.resources.license_schema import LICENSE_SCHEMA
from streamlic.schema.columns import json_role
from streamlic.schema.values import SCALARS
from tests.support import fault_matrix

DOCS = Path(__file__).parent
ROOT = DOCS.parent
_ACCOUNTS = 10_000  # More than any memory has room for at once.
_MIB = 1 << 20
_NUMBER = re.compile(r"(INTEGER|FLOAT)( RANGE)?")
_BLOCK = re.compile(
    r"(?P<begin><!-- generated: (?P<name>[^>]+) -->\n).*?(?P<end><!-- end -->)$",
    re.MULTILINE | re.DOTALL,
)


def main() -> None:
    """Rewrite the pages whose generated blocks differ from the code."""
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text()
        if (new := rewritten(text)) != text:
            page.write_text(new)
            click.echo(page.relative_to(ROOT))


def rewritten(page: str) -> str:
    """Return a page's Markdown with its generated blocks as the code has them now."""
    return _BLOCK.sub(
        lambda block: f"{block['begin']}\n{generated(block['name'])}\n\n{block['end']}", page
    )


def generated(name: str) -> str:
    """Return the text of the block with this name."""
    kind, _, argument = name.partition(" ")
    if kind == "file":
        return included(argument)
    if kind == "columns":
        return columns(argument)
    return {
        "commands": commands,
        "definitions": definitions,
        "encoding": encoding_figures,
        "environment": environment,
        "errors": error_codes,
        "faults": faults,
        "figures": benchmark_figures,
        "memory": memory,
        "names": public_names,
        "outcomes": fault_matrix.table,
        "values": values,
    }[kind]()


def definitions() -> str:
    """Return what the words of a report mean, as on its page."""
    return _table(("word", "meaning"), DEFINITIONS)


def included(path: str) -> str:
    """Return a file of the repository as a block of code."""
    return f"```{path.rpartition('.')[2]}\n{(ROOT / path).read_text().rstrip()}\n```"


def benchmark_figures() -> str:
    """Return the tables of the benchmarks whose results are committed."""
    results = json.loads((ROOT / "benchmarks" / "results" / "all.json").read_text())
    return figures.markdown(figures.chosen(results))


def encoding_figures() -> str:
    """Return the table of the choices of the Parquet writer, from the committed results."""
    results = (ROOT / "benchmarks" / "results" / "encoding.json").read_text()
    return encoding.markdown(json.loads(results))


def public_names() -> str:
    """Return the public names of the package, each with the first paragraph of its docstring."""
    rows = []
    for name in sorted(streamlic.__all__):
        value = getattr(streamlic, name)
        if name.startswith("_") or not (inspect.isclass(value) or inspect.isroutine(value)):
            continue
        rows.append((f"`{name}`", _about(value, whole=False)))
    return _table(("name", "what it is"), rows)


def commands() -> str:
    """Return every command with its usage, its help and its options."""
    return "\n\n".join(_command(name, command) for name, command in sorted(cli.commands.items()))


def environment() -> str:
    """Return the variables without a command's name in them, and their options."""
    of_commands = tuple(f"STREAMLIC_{name.upper()}_" for name in cli.commands)
    named: dict[str, list[str]] = {}
    for option in (one for command in _all_commands(cli) for one in command.params):
        for variable in _variables(option):
            spelled = f"`{max(option.opts, key=len)}`"
            if spelled not in named.setdefault(variable, []):
                named[variable].append(spelled)
    rows = [(f"`{name}`", ", ".join(options)) for name, options in sorted(named.items())
            if not name.startswith(of_commands)]  # fmt: skip
    rows.append(("`TRUTO_API_TOKEN`", "none: it holds the API token"))
    return _table(("variable", "option"), rows)


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
    """Return the faults of the emulator."""
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
        "row group that is being gathered": [one.write_options.row_group_bytes for one in each],
        "page that is not complete yet": [one.write_options.page_buffer_bytes for one in each],
        "record batches queued for encoding": [one.batch_queue_bytes for one in each],
        **{
            f"largest record, {engine} engine": [
                default_record_bytes(size * _MIB, engine) for size in sizes
            ]
            for engine in ("fast", "reference")
        },
        "chunks queued for decoding": [one.chunk_queue_bytes for one in each],
        "upload to an object store": [one.store_settings.upload_bytes for one in each],
    }
    rows = [(what, *(_mib(size) for size in of)) for what, of in shares.items()]
    rows += [
        ("pages in flight, many accounts", *(str(one.pages_at_once(_ACCOUNTS)) for one in each)),
        ("of those, large pages", *(str(one.large_pages_at_once(_ACCOUNTS)) for one in each)),
    ]
    return _table(("`--memory`", *(f"{size} MiB" for size in sizes)), rows)


def columns(table: str) -> str:
    """Return the columns of one of the lake's tables, each with its type and its meaning."""
    rows = [
        (
            f"`{field.name}`",
            f"`{field.type}`{' (JSON)' if json_role(field) else ''}",
            MEANINGS[table][field.name],
        )
        for field in schema_of(table, LICENSE_SCHEMA)
    ]
    return _table(("column", "type", "meaning"), rows)


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
    options = [one for one in command.params if isinstance(one, click.Option)]
    parts = [
        f"## streamlic {name}",
        f"`{' '.join([ctx.command_path, *command.collect_usage_pieces(ctx)])}`",
        _prose(command.help),
        _options(options, ctx),
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


def _options(options: list[click.Option], ctx: click.Context) -> str:
    """Return a table of options for each group of ``--help``, under its title if there are more."""
    groups = in_groups(options)
    return "\n\n".join(
        (f"**{title}**\n\n" if len(groups) > 1 else "")
        + _table(("option", "meaning", "default"), [_option(one, ctx) for one in group])
        for title, group in groups.items()
    )


def _option(option: click.Option, ctx: click.Context) -> tuple[str, str, str]:
    spelled = ", ".join(f"`{one}`" for one in (*option.opts, *option.secondary_opts))
    if not option.is_flag:
        metavar = option.make_metavar(ctx)
        if metavar.startswith("[") and metavar.endswith("]"):  # A choice.
            metavar = metavar[1:-1]
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


if __name__ == "__main__":
    main()
