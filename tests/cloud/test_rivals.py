"""A writer that is stopped at any request to a store, while another one takes over its lake."""

from __future__ import annotations

import pytest

from tests.cloud.test_kill_matrix import lakes
from tests.support.matrix_lake import Lakes
from tests.support.matrix_places import stop_at_each_place

__all__ = ["lakes"]
PAGES = 1
"""All kinds of requests are there with one page an account."""
STRIDES = {"parquet": 53, "delta": 97, "sql": 101, "glue": 127}
"""About half a minute each. The slow form takes every place."""


@pytest.mark.parametrize(
    "every", [0, pytest.param(1, marks=pytest.mark.slow)], ids=["some", "every"]
)
def test_a_lake_is_exact_wherever_writers_are_stopped_and_overtaken(
    lakes: Lakes, every: int
) -> None:
    found = stop_at_each_place(lakes, every or STRIDES[lakes.kind])
    print(f"| {lakes} | {found} |")
    assert found.overtaken
