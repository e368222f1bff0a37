"""Peers that hold a part of the body at a time: the textbook loop, and dlt."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from benchmarks.cases.landing import Asked, landed
from benchmarks.cases.worker import Run

_BATCH_ROWS = 8192
_GROUP_ROWS = 100_000
_CHUNK_BYTES = 1 << 20
_NESTED = ("products", "roles", "remote_data")


@contextlib.contextmanager
def textbook(given: dict[str, Any]) -> Iterator[Run]:
    """Stream with aiohttp and ijson, row group by row group, as its best writer would.

    ``is_clean`` says that no number is beyond 64 bits: ijson then makes floats, not decimals.
    """
    is_clean = given.get("is_clean", False)
    yield from landed(
        given, lambda asked, dest: asyncio.run(_textbook(asked, dest, is_clean=is_clean))
    )


@contextlib.contextmanager
def textbook_file(given: dict[str, Any]) -> Iterator[Run]:
    """Convert a file with the same loop."""

    def land(asked: Asked, dest: Path) -> int:
        with Path(asked.url).open("rb") as body, _Textbook(dest, is_clean=True) as loop:
            while chunk := body.read(_CHUNK_BYTES):
                loop.take(chunk)
        return loop.rows

    yield from landed(given, land)


async def _textbook(asked: Asked, dest: Path, *, is_clean: bool) -> int:
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=None)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(asked.endpoint, params=asked.query) as response,
    ):
        response.raise_for_status()
        with _Textbook(dest, is_clean=is_clean) as loop:
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                loop.take(chunk)
    return loop.rows


class _Textbook:
    """The loop: chunks are pushed into ijson, whose asynchronous items cost more."""

    def __init__(self, dest: Path, *, is_clean: bool) -> None:
        import ijson
        import pyarrow as pa
        import pyarrow.parquet as pq

        from benchmarks.cases.textbook import SCHEMA, row

        self.rows = 0
        self._row, self._schema, self._arrow = row, SCHEMA, pa
        self._parsed = ijson.sendable_list()
        self._parser = ijson.items_coro(self._parsed, "result.item", use_float=is_clean)
        self._held: list[dict[str, Any]] = []
        self._batches: list[Any] = []
        self._file = pq.ParquetWriter(dest / "licenses.parquet", SCHEMA, compression="zstd")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if raised[0] is None:
            self._parser.close()
            self._batch(len(self._held))
            self._group()
        self._file.close()

    def take(self, chunk: bytes) -> None:
        """Take a piece of the body."""
        self._parser.send(chunk)
        self._held += map(self._row, self._parsed)
        self._parsed.clear()
        while len(self._held) >= _BATCH_ROWS:
            self._batch(_BATCH_ROWS)
        if len(self._batches) * _BATCH_ROWS >= _GROUP_ROWS:
            self._group()

    def _batch(self, rows: int) -> None:
        some = self._held[:rows]
        del self._held[:rows]
        self._batches.append(self._arrow.RecordBatch.from_pylist(some, schema=self._schema))
        self.rows += rows

    def _group(self) -> None:
        table = self._arrow.Table.from_batches(self._batches, schema=self._schema)
        self._file.write_table(table, row_group_size=_GROUP_ROWS)
        self._batches.clear()


@contextlib.contextmanager
def dlt(given: dict[str, Any]) -> Iterator[Run]:
    """Run dlt's REST source into Parquet files, nested values as JSON."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["RUNTIME__LOG_LEVEL"] = "CRITICAL"
    os.environ["DLT_USE_JSON"] = "simplejson"  # Its default refuses integers beyond 64 bits.
    os.environ["DLT_DATA_DIR"] = given["work"]
    import_module("dlt")
    yield from landed(given, _dlt)


def _dlt(asked: Asked, dest: Path) -> int:
    library = import_module("dlt")
    rest = import_module("dlt.sources.rest_api")
    source = rest.rest_api_source(
        {
            "client": {"base_url": asked.url},
            "resources": [
                {
                    "name": "licenses",
                    "columns": {name: {"data_type": "json"} for name in _NESTED},
                    "endpoint": {
                        "path": "unified/user-directory/licenses",
                        "params": asked.query,
                        "data_selector": "result",
                        "paginator": {
                            "type": "cursor",
                            "cursor_path": "next_cursor",
                            "cursor_param": "next_cursor",
                        },
                    },
                }
            ],
        }
    )
    pipeline = library.pipeline(
        "licenses",
        destination=library.destinations.filesystem(bucket_url=dest.as_uri()),
        dataset_name="licenses",
        pipelines_dir=str(dest / "pipelines"),
    )
    pipeline.run(source, loader_file_format="parquet")
    return int(pipeline.last_trace.last_normalize_info.row_counts["licenses"])
