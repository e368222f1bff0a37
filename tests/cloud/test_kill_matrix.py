"""A writer that is killed before or after any request to a store, and again while it recovers.

The other process reads the lake all the while.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.matrix_lake import Lakes
from tests.support.matrix_places import kill_at_each_place
from tests.support.matrix_process import Processes
from tests.support.object_servers import ObjectServer

CASES = [
    ("moto", "parquet", ""), ("moto", "delta", ""), ("moto", "iceberg", "sql"),
    ("moto", "iceberg", "glue"), ("seaweed", "parquet", ""), ("seaweed", "delta", ""),
    ("seaweed", "iceberg", "sql"), ("azurite", "parquet", ""), ("azurite", "delta", ""),
    ("azurite", "iceberg", "sql"), ("gcs", "parquet", ""), ("gcs", "delta", ""),
    ("gcs", "iceberg", "sql"),
]  # fmt: skip
PAGES = 2
"""Of each account."""
STRIDES = {"parquet": 19, "delta": 23, "sql": 37, "glue": 53}
"""Under a minute each. The slow form takes every place, both before and after the request."""


@pytest.fixture(
    params=[
        pytest.param(case, id="-".join(filter(None, case)), marks=pytest.mark.xdist_group(case[0]))
        for case in CASES
    ]
)
def lakes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lakes]:
    """Return lakes of each format on each server, with the pages that the module asks for."""
    name, table_format, catalog = request.param
    server: ObjectServer = request.getfixturevalue(name)
    with Processes(tmp_path) as processes:
        yield Lakes(table_format, processes, tmp_path, server, catalog, pages=request.module.PAGES)


@pytest.mark.parametrize(
    "every", [0, pytest.param(1, marks=pytest.mark.slow)], ids=["some", "every"]
)
def test_a_lake_is_exact_whichever_request_a_writer_dies_at(lakes: Lakes, every: int) -> None:
    found = kill_at_each_place(lakes, every or STRIDES[lakes.kind])
    print(f"| {lakes} | {found} |")
    assert found.kills
