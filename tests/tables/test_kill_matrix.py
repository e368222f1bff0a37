"""A short form of the matrix that ``make test-cloud`` and ``make test-cloud-long`` have.

A writer dies at some steps, and again while it recovers; another process reads all the while.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.matrix_lake import Lakes, kill_at_each_step
from tests.support.matrix_places import kill_at_each_place, stop_at_each_place
from tests.support.matrix_process import Processes
from tests.support.object_servers import MotoServer

FORMATS = ("parquet", "delta", "iceberg")
SOME = {"parquet": 90, "delta": 90}
"""Every so many-th step of a local lake. Iceberg takes too long here."""


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Return what starts processes: loading the libraries takes two seconds, once."""
    with Processes(tmp_path_factory.mktemp("processes")) as found:
        yield found


@pytest.mark.parametrize(
    ("table_format", "every"),
    [*SOME.items(), *(pytest.param(one, 1, marks=pytest.mark.long) for one in FORMATS)],
)
def test_a_local_lake_is_exact_wherever_a_writer_dies(
    tmp_path: Path, processes: Processes, table_format: str, every: int
) -> None:
    catalog = "sql" if table_format == "iceberg" else ""
    lakes = Lakes(table_format, processes, tmp_path, catalog=catalog)
    found = kill_at_each_step(lakes, every, first=every // 2 + 1)
    print(f"| {lakes} | {found} |")
    assert found.kills


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoServer]:
    with MotoServer() as server:
        yield server


def test_a_lake_in_a_bucket_is_exact_wherever_a_writer_dies(
    tmp_path: Path, processes: Processes, moto: MotoServer
) -> None:
    found = kill_at_each_place(Lakes("parquet", processes, tmp_path, moto), every=40)
    assert found.kills


def test_a_lake_in_a_bucket_is_exact_whenever_a_writer_is_overtaken(
    tmp_path: Path, processes: Processes, moto: MotoServer
) -> None:
    lakes = Lakes("parquet", processes, tmp_path, moto, pages=1)
    found = stop_at_each_place(lakes, every=150)
    assert found.overtaken
