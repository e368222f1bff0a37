"""``streamlic head``: the first rows of a body, a lake or a part file."""

from __future__ import annotations

import os
import select
import shlex
import shutil
import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

import click
from click.core import ParameterSource

from streamlic.cli.commands.convert import opened_body
from streamlic.cli.option_sources import SettingsCommand
from streamlic.cli.options import body_options, dataset, engine, options, output, table
from streamlic.cli.settings import HeadSettings, takes
from streamlic.cli.types import column_names
from streamlic.errors import StoreError, StreamlicError, UsageError
from streamlic.formatting import counted, visible
from streamlic.resources.licenses import LICENSES

if TYPE_CHECKING:
    import pyarrow as pa

    from streamlic.dataset.head import Rows

_READ_BYTES = 64 * 1024
_FEED_BYTES = 1024
_MOST_BATCH_ROWS = 1_000
_MOST_ROWS = 1_000_000_000
_PIPE_COLUMNS = 80
_PARQUET = (".parquet", ".parq", ".pq")
_ALL = "all"
_OF_A_LAKE = ("table", "run")
_OF_A_TABLE = ("where_account",)
_OF_A_BODY = ("rows_at", "ndjson", "raw", "key_by", "engine")


@click.command(
    cls=SettingsCommand,
    epilog="""\b
Examples:
  streamlic head lake --rows 20 --columns name,available_quantity,assigned_quantity
  curl -s "$URL" | streamlic head - --json
""",
)
@click.argument("source", type=click.Path(allow_dash=True), metavar="SOURCE|DEST|-")
@options(
    output("--rows", type=click.IntRange(1, _MOST_ROWS), metavar="N", default=10, show_default=True,
           help="Rows to show at most."),
    output("--columns", metavar="A,B|all", shell_complete=column_names,
           help="Columns to show, with commas between them; by default the telling ones."),
    output("--json", "as_json", is_flag=True,
           help="Print each row as one JSON object on a line: all columns, and nothing shortened."),
    table("Table of the lake."),
    dataset("--run", metavar="ID|KEY", help="Only rows of this run of the lake."),
    dataset("--where-account", metavar="ID", help="Only rows of this integrated account."),
    *body_options,
    engine,
)  # fmt: skip
@takes(HeadSettings)
def head(settings: HeadSettings) -> None:
    """Show the first rows of a saved body, a lake, or a Parquet file.

    SOURCE is a response body, from a file or - for standard input. DEST is a lake: the rows of its
    newest run come first. No more is read than the rows need.
    """
    with ExitStack() as stack:
        found = _found(settings, stack)
        if settings.as_json:
            _print_json(found, settings)
        else:
            _print_table(found, settings)


@dataclass
class _Found:
    """Rows that can be read. ``total`` is how many there are, ``note`` why there may be none."""

    schema: pa.Schema
    batches: Iterable[pa.RecordBatch]
    what: str = ""
    total: int | None = None
    note: str = ""
    left_out: list[str] = field(default_factory=list)


def _found(settings: HeadSettings, stack: ExitStack) -> _Found:
    """Find the rows, and choose the columns that are read."""
    from streamlic.storage.dest_urls import is_url

    source = settings.source
    is_in_store = is_url(source)
    if is_in_store and PurePosixPath(source).suffix.lower() in _PARQUET:
        _refuse((*_OF_A_BODY, *_OF_A_LAKE), "another SOURCE", f"{source} is a Parquet file")
        return _of_file(settings)
    if is_in_store or (source != "-" and Path(source).is_dir()):
        _refuse_table(source)
        what = "a URL: a lake, or a Parquet file" if is_in_store else "a directory"
        _refuse(_OF_A_BODY, "a saved body", f"{source} is {what}")
        return _of_lake(settings)
    file = stack.enter_context(opened_body(source))
    if _is_parquet(file):
        if source == "-":
            raise UsageError("standard input is a Parquet file: give the name of the file")
        _refuse(_OF_A_BODY, "a saved body", f"{source} is a Parquet file")
        _refuse(_OF_A_LAKE, "a lake", f"{source} is a Parquet file")
        return _of_file(settings)
    whose = "standard input" if source == "-" else source
    _refuse((*_OF_A_LAKE, *_OF_A_TABLE), "a lake", f"{whose} is a saved body")
    return _of_body(settings, file)


def _of_lake(settings: HeadSettings) -> _Found:
    from streamlic.dataset.head import rows_of_table
    from streamlic.storage.open_store import open_store

    account, run = settings.where_account, settings.run
    rows = rows_of_table(open_store(settings.source), settings.table, account=account, run=run)
    found = _of_rows(rows, settings)
    found.what = f" of {settings.table}, newest run first"
    found.total = None if account or run else rows.rows
    found.note = rows.why_none
    return found


def _of_file(settings: HeadSettings) -> _Found:
    from streamlic.dataset.head import rows_of_file
    from streamlic.storage.open_store import open_store

    place, name = os.path.split(settings.source)  # A URL keeps both of its slashes.
    store = open_store(place or ".")
    if not store.exists(name):
        raise UsageError(f"{settings.source} cannot be read: there is no such file")
    return _of_rows(rows_of_file(store, name, account=settings.where_account), settings)


def _of_rows(rows: Rows, settings: HeadSettings) -> _Found:
    schema = rows.schema()
    chosen = _chosen(schema, settings) if schema.names else schema
    left_out = [name for name in schema.names if name not in chosen.names]
    return _Found(chosen, rows.batches(chosen, settings.rows), left_out=left_out)


def _of_body(settings: HeadSettings, file: BinaryIO) -> _Found:
    from streamlic.decoder import open_decoder
    from streamlic.schema.columns import RAW_SCHEMA

    schema = RAW_SCHEMA if settings.raw else LICENSES.schema
    if settings.key_by is not None and settings.raw:
        raise UsageError("--key-by excludes --raw: raw rows have no columns for keys")
    ndjson = settings.ndjson
    if ndjson is None:
        ndjson = Path(settings.source).suffix in (".ndjson", ".jsonl")
    # Few, so that a pipe is left at the last row, and an error comes after the rows before it.
    batch_rows = min(max(settings.rows // 10, 1), _MOST_BATCH_ROWS)
    decoder = open_decoder(
        schema,
        engine=settings.engine,
        rows_at=settings.rows_at,
        ndjson=ndjson,
        key_by=settings.key_by,
        batch_rows=batch_rows,
    )
    chosen = _chosen(schema, settings)
    # A batch of few rows takes far more memory than its bytes: few come at a time.
    step = _FEED_BYTES * batch_rows

    def batches() -> Iterator[pa.RecordBatch]:
        while chunk := _next(file, settings.source):
            for first in range(0, len(chunk), step):
                yield from decoder.feed(chunk[first : first + step])
        yield from decoder.close()

    left_out = [name for name in schema.names if name not in chosen.names]
    return _Found(chosen, (batch.select(chosen.names) for batch in batches()), left_out=left_out)


def _next(file: BinaryIO, name: str) -> bytes:
    """Return the next bytes of a body, none at its end."""
    read: Callable[[int], bytes | None] = file.read
    try:
        while (chunk := read(_READ_BYTES)) is None:  # A pipe that does not block.
            select.select([file], [], [])
    except OSError as error:
        raise StoreError(f"reading {name} failed: {error.strerror}") from error
    return chunk


def _is_parquet(file: BinaryIO) -> bool:
    """Return whether a file, not a pipe, is Parquet; its position stays as it was."""
    return file.seekable() and os.pread(file.fileno(), 4, file.tell()) == b"PAR1"


def _refuse(names: Iterable[str], of: str, because: str) -> None:
    """Raise UsageError for options of the command line that do not apply."""
    ctx = click.get_current_context()
    for one in ctx.command.params:
        if one.name in names and ctx.get_parameter_source(one.name) is ParameterSource.COMMANDLINE:
            raise UsageError(f"{one.opts[0]} needs {of}, and {because}")


def _refuse_table(source: str) -> None:
    """Raise UsageError, with the command that is meant, for the directory of one table."""
    from streamlic.dataset.lake import LOG_DIRECTORY, TABLES
    from streamlic.storage.dest_urls import is_url
    from streamlic.storage.open_store import open_store

    path = source.rstrip("/") if is_url(source) else str(Path(source).resolve())
    place, name = os.path.split(path)
    if name in TABLES and open_store(place).names(LOG_DIRECTORY):
        lake = shlex.quote(place)
        raise UsageError(f"{path} is a table of a lake: streamlic head {lake} --table {name}")


def _chosen(schema: pa.Schema, settings: HeadSettings) -> pa.Schema:
    """Return the columns to show: those that --columns names, else the telling ones."""
    from streamlic.dataset.head import columns_named, telling_columns

    if settings.columns is None and not settings.as_json:
        return telling_columns(schema, LICENSES.telling_columns)
    if settings.columns in (None, _ALL):
        return schema
    names = [name.strip() for name in str(settings.columns).split(",")]
    return columns_named(schema, filter(None, names))


def _rows(found: _Found, most: int, failed: list[StreamlicError]) -> Iterator[dict[str, Any]]:
    """Yield rows up to ``most``; an error ends them and is put into ``failed``."""
    left = most
    try:
        for batch in found.batches:
            for row in batch.slice(0, left).to_pylist():
                left -= 1
                yield row
            if not left:
                return
    except StreamlicError as error:
        failed.append(error)


def _print_json(found: _Found, settings: HeadSettings) -> None:
    from streamlic.reports.json_rows import json_line
    from streamlic.schema.columns import json_role

    columns = {field.name for field in found.schema if json_role(field) is not None}
    failed: list[StreamlicError] = []
    for row in _rows(found, settings.rows, failed):
        click.echo(json_line(row, columns))
    for error in failed:
        raise error


def _print_table(found: _Found, settings: HeadSettings) -> None:
    from streamlic.reports.table import laid_out

    failed: list[StreamlicError] = []
    width = shutil.get_terminal_size((_PIPE_COLUMNS, 24)).columns
    shown = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal shown
        for row in _rows(found, settings.rows, failed):
            shown += 1
            yield row

    is_named = settings.columns is not None
    laid = laid_out(rows(), found.schema.names, width, keeps_all=is_named)
    for line in laid.lines if found.schema.names else ():
        click.echo(line)
    left_out = [*laid.left_out, *(() if is_named else found.left_out)]
    for line in _notes(found, shown, left_out):
        click.echo("\n".join(textwrap.wrap(line, width, subsequent_indent="  ")))
    for error in failed:
        raise error


def _notes(found: _Found, shown: int, left_out: list[str]) -> Iterator[str]:
    of = f"{shown:,} of " if found.total is not None else ""
    yield ""
    yield of + counted(shown if found.total is None else found.total, "row") + found.what
    if left_out:
        yield f"columns not shown (--columns all): {', '.join(map(visible, left_out))}"
    if not shown and found.note:
        yield found.note
