"""Cases of the whole job, and of its two limits: reading from the network, writing Parquet.

pyarrow is imported late: ``streamlic`` chooses its allocator before.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode, urlsplit

from benchmarks.cases.landing import TOKEN, WARM_ACCOUNT, Asked, landed
from benchmarks.cases.worker import Done, Run

_CURSOR = re.compile(rb'"next_cursor": ?"([^"]+)"')
_TAIL_BYTES = 400
_CHUNK_BYTES = 1 << 18


@contextlib.contextmanager
def export(given: dict[str, Any]) -> Iterator[Run]:
    """Run ``streamlic export``, command line included."""
    os.environ["TRUTO_API_TOKEN"] = TOKEN
    reported: dict[str, Any] = {}

    def land(asked: Asked, dest: Path) -> int:
        from streamlic.cli.commands import cli

        pages = ["--limit", str(asked.limit)] if asked.limit else ["--ignore-limit"]
        options = ["--account", asked.account, "--base-url", asked.url, "--rate-limit", "none"]
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            cli.main(
                ["export", str(dest), *options, *pages, *given.get("options", ()),
                 "--engine", given["engine"],
                 "--json", "--quiet"],
                standalone_mode=False,
            )  # fmt: skip
        summary = json.loads(said.getvalue())
        reported["engine"] = summary["engine"]
        return int(summary["rows"])

    yield from landed(given, land, more=reported)


@contextlib.contextmanager
def convert(given: dict[str, Any]) -> Iterator[Run]:
    """Run ``streamlic convert`` on a file, command line included."""

    def land(asked: Asked, dest: Path) -> int:
        from streamlic.cli.commands import cli

        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            cli.main(
                ["convert", asked.url, str(dest), "--account", WARM_ACCOUNT, "--json", "--quiet"],
                standalone_mode=False,
            )
        return int(json.loads(said.getvalue())["rows"])

    yield from landed(given, land)


@contextlib.contextmanager
def drain(given: dict[str, Any]) -> Iterator[Run]:
    """Read the same bodies with aiohttp, and do nothing with them."""
    import aiohttp

    asked = Asked(given["url"], given["account"], given["limit"])

    async def read(session: aiohttp.ClientSession, cursor: str | None) -> tuple[int, bytes]:
        query = {**asked.query, **({"next_cursor": cursor} if cursor else {})}
        size, tail = 0, b""
        async with session.get(asked.endpoint, params=query) as response:
            response.raise_for_status()
            async for chunk in response.content.iter_any():
                size += len(chunk)
                tail = (tail + chunk)[-_TAIL_BYTES:]
        return size, tail

    async def read_all() -> int:
        total, cursor = 0, None
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                size, tail = await read(session, cursor)
                total += size
                found = _CURSOR.search(tail)
                if not found:
                    return total
                cursor = found[1].decode()

    def run() -> Done:
        asyncio.run(read_all())
        return Done(given["rows"], given["bytes"])

    yield run


@contextlib.contextmanager
def drain_raw(given: dict[str, Any]) -> Iterator[Run]:
    """Read one body from a bare socket: how fast the emulator itself is."""
    asked = Asked(given["url"], given["account"], given["limit"])
    url = urlsplit(asked.endpoint)
    request = (
        f"GET {url.path}?{urlencode(asked.query)} HTTP/1.1\r\n"
        f"Host: {url.netloc}\r\nConnection: close\r\n\r\n"
    ).encode()

    def run() -> Done:
        buffer = bytearray(1 << 20)
        size = 0
        with socket.create_connection((url.hostname or "", url.port or 0)) as connection:
            connection.sendall(request)
            while count := connection.recv_into(buffer):
                size += count
        return Done(given["rows"], given["bytes"], {"wire_bytes": size})

    yield run


@contextlib.contextmanager
def encode(given: dict[str, Any]) -> Iterator[Run]:
    """Write the same batches, decoded before, with the dataset writer's own options."""
    from streamlic.dataset.writer import DatasetWriter
    from streamlic.decoder import open_decoder
    from streamlic.emulator.records import Shape, blocks
    from streamlic.job.options import JobOptions
    from streamlic.resources.license_schema import LICENSE_SCHEMA
    from streamlic.storage.local import LocalStore
    from streamlic.tables.base import LakeWriter
    from streamlic.tables.runs import open_run

    decoder = open_decoder()
    batches = []
    if "envelope" in given:
        with Path(given["envelope"]).open("rb") as body:
            while chunk := body.read(_CHUNK_BYTES):
                batches += decoder.feed(chunk)
    else:
        batches += decoder.feed(b'{"result":[')
        for block in blocks(7, WARM_ACCOUNT, 0, given["rows"], Shape()):
            batches += decoder.feed(block)
        batches += decoder.feed(b"]}")
    batches += decoder.close()
    with TemporaryDirectory(dir=given["work"]) as work:
        store = LocalStore(work)
        asked = open_run(LakeWriter(store), request={}, accounts=[WARM_ACCOUNT])

        def run() -> Done:
            writer = DatasetWriter(
                store,
                asked,
                schema=LICENSE_SCHEMA,
                options=JobOptions().write_options,
            )
            page = writer.open_page(WARM_ACCOUNT)
            for batch in batches:
                page.write(batch)
            page.end()
            writer.finish()
            return Done(given["rows"], given["bytes"], {"parquet_bytes": writer.bytes_written})

        yield run
