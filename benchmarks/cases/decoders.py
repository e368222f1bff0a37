"""Cases that decode a local body in one thread: the engines, the textbook loop, other readers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json

from benchmarks.cases.worker import Done, Run

_MIXED = ("available_quantity", "assigned_quantity", "unit_amount", "is_paid", "created_at",
          "updated_at")  # fmt: skip
DUCKDB_TYPES = {
    "id": "VARCHAR",
    "name": "VARCHAR",
    "description": "VARCHAR",
    "available_quantity": "BIGINT",
    "assigned_quantity": "BIGINT",
    "unit_amount": "DOUBLE",
    "currency": "VARCHAR",
    "is_paid": "BOOLEAN",
    "status": "VARCHAR",
    "products": "STRUCT(id VARCHAR, name VARCHAR, status VARCHAR)[]",
    "roles": "STRUCT(id VARCHAR, name VARCHAR)[]",
    "created_at": "TIMESTAMPTZ",
    "updated_at": "TIMESTAMPTZ",
    "remote_data": "JSON",
}


@contextlib.contextmanager
def engine(given: dict[str, Any]) -> Iterator[Run]:
    """Feed ``envelope`` to one of streamlic's engines, ``chunk_bytes`` at a time.

    ``raw``: records are found and checked, and kept as text. Without it, public names alone serve,
    which older revisions have too: ``compare`` measures them.
    """
    from streamlic import open_decoder

    size = given.get("chunk_bytes", 65536)
    with Path(given["envelope"]).open("rb") as body:  # In chunks, as a socket gives it.
        chunks = list(iter(lambda: body.read(size), b""))
        total = body.tell()
    options: dict[str, Any] = {
        name: given[name] for name in ("batch_rows", "batch_bytes") if name in given
    }
    if given.get("raw"):
        from streamlic.schema.columns import RAW_SCHEMA

        options["schema"] = RAW_SCHEMA

    def run() -> Done:
        decoder = open_decoder(engine=given["engine"], **options)
        for chunk in chunks:
            decoder.feed(chunk)
        decoder.close()
        return Done(decoder.envelope.rows, total, {"engine": decoder.engine})

    yield run


@contextlib.contextmanager
def handed_over(given: dict[str, Any]) -> Iterator[Run]:
    """Export the decoded batches of ``envelope`` through Arrow's C data interface."""
    from streamlic.decoder import open_decoder

    body = Path(given["envelope"]).read_bytes()
    decoder = open_decoder()
    batches = decoder.feed(body) + decoder.close()

    def run() -> Done:
        rows = sum(pa.record_batch(_CArray(batch)).num_rows for batch in batches)
        return Done(rows, len(body))

    yield run


class _CArray:
    """A batch with only a C data interface, as if another library had made it."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self._batch = batch

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        capsules: tuple[object, object] = self._batch.__arrow_c_array__(requested_schema)
        return capsules


@contextlib.contextmanager
def textbook(given: dict[str, Any]) -> Iterator[Run]:
    """Decode ``envelope`` with the loop that one writes by hand."""
    from benchmarks.cases.textbook import decode

    body = Path(given["envelope"]).read_bytes()
    yield lambda: Done(decode(BytesIO(body), is_clean=given.get("is_clean", False)), len(body))


@contextlib.contextmanager
def arrow_json(given: dict[str, Any]) -> Iterator[Run]:
    """Read ``lines`` with pyarrow.json: with the schema, and other columns inferred."""
    from benchmarks.cases.textbook import SCHEMA

    body = pa.py_buffer(Path(given["lines"]).read_bytes())
    columns = [column for column in SCHEMA if column.name != "remote_data"]
    parse = pyarrow.json.ParseOptions(
        explicit_schema=pa.schema(columns), unexpected_field_behavior="infer"
    )
    # Its blocks must hold the longest record; its default is 1 MiB.
    read = pyarrow.json.ReadOptions(use_threads=False, block_size=given.get("block_bytes", 1 << 20))

    def run() -> Done:
        table = pyarrow.json.read_json(pa.BufferReader(body), read, parse)
        return Done(table.num_rows, len(body), {"engine": f"pyarrow {pa.__version__}"})

    yield run


def duckdb_columns(*, is_mixed: bool) -> tuple[dict[str, str], str]:
    """Return the types to read, and what to select: casts where values are of mixed types."""
    types = {**DUCKDB_TYPES, **(dict.fromkeys(_MIXED, "VARCHAR") if is_mixed else {})}
    fields = (
        f"TRY_CAST({name} AS {DUCKDB_TYPES[name]}) AS {name}" if name in _MIXED else name
        for name in types
    )
    return types, ", ".join(fields) if is_mixed else "*"


@contextlib.contextmanager
def duckdb_json(given: dict[str, Any]) -> Iterator[Run]:
    """Read ``lines`` with DuckDB into an Arrow table; values of mixed types by TRY_CAST."""
    duckdb = import_module("duckdb")
    types, fields = duckdb_columns(is_mixed=given["is_mixed"])
    columns = ", ".join(f"{name}: '{kind}'" for name, kind in types.items())
    query = (
        f"SELECT {fields} FROM read_json('{given['lines']}', format='newline_delimited', "  # noqa: S608
        f"columns={{{columns}}}, maximum_object_size=67108864)"
    )
    size = Path(given["lines"]).stat().st_size
    with duckdb.connect() as connection:
        connection.execute("SET threads=1")

        def run() -> Done:
            table = connection.sql(query).to_arrow_table()
            return Done(table.num_rows, size, {"engine": f"duckdb {duckdb.__version__}"})

        yield run
