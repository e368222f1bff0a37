"""Cases that write the same batches with one choice of the Parquet writer changed.

pyarrow is imported late: ``streamlic`` chooses its allocator before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from benchmarks.cases.landing import WARM_ACCOUNT
from benchmarks.cases.worker import Done, Run

if TYPE_CHECKING:
    import pyarrow as pa

_MIB = 1 << 20
Options = dict[str, Any]


@dataclass(frozen=True)
class Choice:
    """One change to what streamlic asks of Arrow's Parquet writer."""

    note: str = ""
    options: Options = field(default_factory=dict)
    more: Callable[[Options], Options] = lambda _: {}
    """Makes further options from those that streamlic gives."""
    has_repeats: bool = True
    """Whether columns that are the same in all rows of a page come as dictionaries."""


def _in_lists(name: str) -> Callable[[Options], Options]:
    def more(given: Options) -> Options:
        return {name: [*given[name], *_LISTS]}

    return more


_LISTS = [
    *(f"products.list.element.{name}" for name in ("id", "name", "status")),
    *(f"roles.list.element.{name}" for name in ("id", "name")),
]
_TEXTS = ("description", "remote_data", "_rescued")
CHOICES = {
    "as streamlic writes": Choice(),
    "account and run as strings": Choice(has_repeats=False),
    "statistics inside lists": Choice(more=_in_lists("write_statistics")),
    "dictionaries inside lists": Choice(
        "more memory for a record with a long list", more=_in_lists("use_dictionary")
    ),
    "no dictionaries": Choice(options={"use_dictionary": False}, has_repeats=False),
    "no statistics": Choice("readers skip nothing", {"write_statistics": False}),
    "no page index": Choice(options={"write_page_index": False}),
    "no page checksums": Choice("damage goes unseen", {"write_page_checksum": False}),
    "1,024 values at a time": Choice("Arrow's own choice", {"write_batch_size": 1024}),
    "65,536 values at a time": Choice("pages grow beyond 1 MiB", {"write_batch_size": 65_536}),
    "pages of 256 KiB": Choice(options={"data_page_size": _MIB // 4}),
    "pages of 4 MiB": Choice("more memory", {"data_page_size": 4 * _MIB}),
    "data pages 2.0": Choice(
        "levels of lists are not compressed; not every reader has it", {"data_page_version": "2.0"}
    ),
    "texts with DELTA_LENGTH_BYTE_ARRAY": Choice(
        "not every reader has it",
        {"column_encoding": dict.fromkeys(_TEXTS, "DELTA_LENGTH_BYTE_ARRAY")},
    ),
    "id with DELTA_BYTE_ARRAY": Choice(
        "not every reader has it", {"column_encoding": {"id": "DELTA_BYTE_ARRAY"}}
    ),
    "zstd, level -1": Choice(options={"compression_level": -1}),
    "zstd, level 3": Choice(options={"compression_level": 3}),
    "lz4": Choice(options={"compression": "lz4"}),
    "snappy": Choice(options={"compression": "snappy"}),
    "not compressed": Choice(options={"compression": "none"}),
}


@contextlib.contextmanager
def choice(given: dict[str, Any]) -> Iterator[Run]:
    """Write a body's batches as an export does, but for one choice."""
    import pyarrow.parquet as pq

    import streamlic.dataset.writer as writing
    from streamlic.job.options import JobOptions
    from streamlic.resources.license_schema import LICENSE_SCHEMA
    from streamlic.storage.local import LocalStore
    from streamlic.tables.base import LakeWriter
    from streamlic.tables.runs import open_run

    chosen = CHOICES[given["choice"]]
    open_writer = pq.ParquetWriter

    def changed(*args: Any, **options: Any) -> Any:
        return open_writer(*args, **{**options, **chosen.options, **chosen.more(options)})

    body = Path(given["envelope"]).read_bytes()
    decoder = JobOptions().open_decoder()
    batches = [*decoder.feed(body), *decoder.close()]
    size, rows = len(body), sum(batch.num_rows for batch in batches)
    del body
    with TemporaryDirectory(dir=given["work"]) as work, contextlib.ExitStack() as stack:
        # No option of streamlic: what a choice costs is measured by asking Arrow for another.
        stack.enter_context(patch.object(pq, "ParquetWriter", changed))
        if not chosen.has_repeats:
            stack.enter_context(patch.object(writing, "REPEATED_COLUMNS", frozenset()))
            stack.enter_context(patch.object(writing, "_repeated", _strings))
        store = LocalStore(work)
        asked = open_run(LakeWriter(store), request={}, accounts=[WARM_ACCOUNT])

        def run() -> Done:
            writer = writing.DatasetWriter(
                store, asked, schema=LICENSE_SCHEMA, options=JobOptions().write_options
            )
            page = writer.open_page(WARM_ACCOUNT)
            for batch in batches:
                page.write(batch)
            page.end()
            files = writer.finish()
            store.delete(*(asked.staged(one.name) for one in files))
            return Done(rows, size, {"parquet_bytes": sum(one.bytes for one in files)})

        yield run


def _strings(rows_of: Sequence[tuple[str | None, int]]) -> pa.Array:
    import pyarrow as pa

    return pa.array([text for text, rows in rows_of for _ in range(rows)], pa.string())
