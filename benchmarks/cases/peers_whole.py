"""Peers that hold the whole body at once, each used as its documentation says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from importlib import import_module
from io import BytesIO
from pathlib import Path
from types import GenericAlias
from typing import Any

from benchmarks.cases.landing import Asked, landed
from benchmarks.cases.worker import Run

UNREADABLE = ("available_quantity", "unit_amount", "is_paid", "created_at")
"""The columns of mixed types in the emulator's records, in which pyarrow.json fails."""
_FILE = "licenses.parquet"


async def _read(asked: Asked, **more: str) -> bytes:
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=None)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(asked.endpoint, params={**asked.query, **more}) as response,
    ):
        response.raise_for_status()
        return await response.read()


@contextlib.contextmanager
def naive(given: dict[str, Any]) -> Iterator[Run]:
    """Run ``await response.json()``, then ``Table.from_pylist``."""
    yield from landed(given, lambda asked, dest: asyncio.run(_naive(asked, dest)))


async def _naive(asked: Asked, dest: Path) -> int:
    import aiohttp
    import pyarrow as pa
    import pyarrow.parquet as pq

    from benchmarks.cases.textbook import SCHEMA, row

    timeout = aiohttp.ClientTimeout(total=None)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(asked.endpoint, params=asked.query) as response,
    ):
        response.raise_for_status()
        body = await response.json()
    table = pa.Table.from_pylist([row(record) for record in body["result"]], schema=SCHEMA)
    pq.write_table(table, dest / _FILE, compression="zstd")
    return int(table.num_rows)


@contextlib.contextmanager
def msgspec(given: dict[str, Any]) -> Iterator[Run]:
    """Decode into typed structs, remote_data left as it is, then column by column."""
    library = import_module("msgspec")
    texts = ("id", "name", "description", "currency", "status", "created_at", "updated_at")
    numbers = ("available_quantity", "assigned_quantity", "unit_amount")
    fields = [
        *((name, str | None, None) for name in texts),
        *((name, int | float | str | None, None) for name in numbers),
        ("is_paid", bool | str | None, None),
        *((name, list[dict[str, Any]] | None, None) for name in ("products", "roles")),
        ("remote_data", library.Raw, library.Raw(b"null")),
    ]
    record = library.defstruct("License", fields)
    decoder = library.json.Decoder(
        library.defstruct("Page", [("result", GenericAlias(list, (record,)))])
    )

    def land(asked: Asked, dest: Path) -> int:
        page = decoder.decode(asyncio.run(_read(asked)))
        return _from_structs(page.result, dest)

    yield from landed(given, land)


def _from_structs(records: list[Any], dest: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from benchmarks.cases.textbook import SCHEMA, moment

    take: dict[str, Callable[[Any], Any]] = {
        **dict.fromkeys(("available_quantity", "assigned_quantity"), lambda v: int(float(v))),
        **dict.fromkeys(("created_at", "updated_at"), moment),
        "unit_amount": float,
        "is_paid": lambda v: v if isinstance(v, bool) else None,
        "remote_data": lambda v: bytes(v).decode(),
    }
    columns = []
    for field in SCHEMA:
        values = [getattr(record, field.name) for record in records]
        if change := take.get(field.name):
            values = [None if value is None else change(value) for value in values]
        columns.append(pa.array(values, field.type))
    pq.write_table(pa.table(columns, schema=SCHEMA), dest / _FILE, compression="zstd")
    return len(records)


@contextlib.contextmanager
def arrow_json(given: dict[str, Any]) -> Iterator[Run]:
    """Read with pyarrow.json, without the columns whose types it cannot take."""

    def land(asked: Asked, dest: Path) -> int:
        import pyarrow as pa
        import pyarrow.json
        import pyarrow.parquet as pq

        body = asyncio.run(_read(asked, truto_exclude_fields=",".join(UNREADABLE)))
        texts = ("id", "name", "description", "currency", "status", "updated_at")
        fields = [(name, pa.string()) for name in texts]
        record = pa.struct([*fields, ("assigned_quantity", pa.float64())])
        table = pyarrow.json.read_json(
            BytesIO(body),
            # The envelope is one row, and a row must fit one block.
            pyarrow.json.ReadOptions(block_size=len(body) + 1),
            pyarrow.json.ParseOptions(pa.schema([("result", pa.list_(record))])),
        )
        rows = table.column("result").combine_chunks().flatten()
        table = pa.Table.from_batches([pa.RecordBatch.from_struct_array(rows)])
        pq.write_table(table, dest / _FILE, compression="zstd")
        return int(table.num_rows)

    yield from landed(given, land)


@contextlib.contextmanager
def duckdb(given: dict[str, Any]) -> Iterator[Run]:
    """Save the body, then ``COPY (SELECT … FROM read_json(…)) TO …``."""
    library = import_module("duckdb")
    from benchmarks.cases.decoders import duckdb_columns

    types, fields = duckdb_columns(is_mixed=True)
    record = ", ".join(f"{name} {kind}" for name, kind in types.items())

    def land(asked: Asked, dest: Path) -> int:
        body = dest / "body.json"
        body.write_bytes(asyncio.run(_read(asked)))
        with library.connect() as connection:
            query = (
                f"SELECT {fields} FROM (SELECT unnest(result, max_depth := 2) FROM "  # noqa: S608
                f"read_json('{body}', columns={{result: 'STRUCT({record})[]'}}, "
                f"maximum_object_size={body.stat().st_size + 1}))"
            )
            done = connection.execute(f"COPY ({query}) TO '{dest / _FILE}' (COMPRESSION zstd)")
            rows = done.fetchone()
        return int(rows[0])

    yield from landed(given, land)


@contextlib.contextmanager
def polars(given: dict[str, Any]) -> Iterator[Run]:
    """Read with an inferred schema, unnest, cast what casts."""
    library = import_module("polars")

    def cast(name: str, kind: Any) -> Any:
        return library.col(name).cast(kind, strict=False)

    def land(asked: Asked, dest: Path) -> int:
        body = asyncio.run(_read(asked))
        frame = library.read_json(BytesIO(body)).select("result").explode("result")
        frame = frame.unnest("result").with_columns(
            *(
                cast(name, library.Float64).cast(library.Int64, strict=False)
                for name in ("available_quantity", "assigned_quantity")
            ),
            cast("unit_amount", library.Float64),
            library.col("is_paid").replace_strict(
                {"true": True, "false": False}, default=None, return_dtype=library.Boolean
            ),
            *(
                library.col(name).str.to_datetime(time_zone="UTC", strict=False)
                for name in ("created_at", "updated_at")
            ),
            library.col("remote_data").struct.json_encode(),
        )
        frame.write_parquet(dest / _FILE, compression="zstd")
        return int(frame.height)

    yield from landed(given, land)
