"""Peers that hold a part of the body at a time: the textbook loop, and dlt."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.cases.landing import Asked, landed
from benchmarks.cases.worker import Run

_GROUP_ROWS = 65536
_NESTED = ("products", "roles", "remote_data")


@contextlib.contextmanager
def textbook(given: dict[str, Any]) -> Iterator[Run]:
    """Stream with aiohttp and ijson, row group by row group."""
    yield from landed(given, lambda asked, dest: asyncio.run(_textbook(asked, dest)))


async def _textbook(asked: Asked, dest: Path) -> int:
    import aiohttp
    import ijson
    import pyarrow as pa
    import pyarrow.parquet as pq

    from benchmarks.cases.textbook import SCHEMA, row

    rows = 0
    held: list[dict[str, Any]] = []
    timeout = aiohttp.ClientTimeout(total=None)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(asked.endpoint, params=asked.query) as response,
    ):
        response.raise_for_status()
        with pq.ParquetWriter(dest / "licenses.parquet", SCHEMA, compression="zstd") as file:
            async for record in ijson.items(response.content, "result.item"):
                held.append(row(record))
                if len(held) == _GROUP_ROWS:
                    file.write_table(pa.Table.from_pylist(held, schema=SCHEMA))
                    rows += len(held)
                    held = []
            file.write_table(pa.Table.from_pylist(held, schema=SCHEMA))
    return rows + len(held)


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
