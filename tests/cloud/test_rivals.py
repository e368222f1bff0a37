"""A writer that is stopped at any request to a store, while another one takes over its lake."""

from __future__ import annotations

import pytest

from tests.cloud.test_kill_matrix import lakes
from tests.support.matrix_lake import Lakes, stop_at_each_step

__all__ = ["lakes"]
PAGES = 1
"""All kinds of steps are there with one page, and a trial takes half as long."""
STRIDES = {"parquet": 61, "delta": 107, "sql": 167, "glue": 211}


@pytest.mark.parametrize(
    "every", [0, pytest.param(1, marks=pytest.mark.slow)], ids=["some", "every"]
)
def test_a_lake_is_exact_whenever_a_writer_is_stopped_and_overtaken(
    lakes: Lakes, every: int
) -> None:
    found = stop_at_each_step(lakes, every or STRIDES[lakes.kind])
    print(f"| {lakes} | {found} |")
    # Of a few steps all may be such that both writers end well.
    assert found.overtaken if every else found.stops
