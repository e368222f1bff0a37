"""One of several equal shares, as text and as a number of things."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlic
from streamlic.errors import UsageError
from streamlic.share import Share


def test_a_share_is_read_and_written_as_one_text() -> None:
    assert Share.parse("2/4") == Share(2, 4)
    assert str(Share.parse("2/4")) == "2/4"
    assert Share.parse("1/1") == Share(1, 1)
    assert Share.parse("12/100") == Share(12, 100)
    assert streamlic.Share is Share


@pytest.mark.parametrize(
    "text",
    ["", "2", "2/", "/4", "0/4", "5/4", "0/0", "-1/4", "2/4/8", " 2/4", "2/4 ", "2 / 4", "2.0/4",
     "a/b", "\u0662/4", "1/" + "9" * 30],
)  # fmt: skip
def test_other_texts_are_refused_with_the_parameter_that_they_were_for(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected I/N .* such as 2/4 .*\(rate_limit\)$") as got:
        Share.parse(text, "rate_limit")
    assert got.value.parameter == "rate_limit"


@pytest.mark.parametrize(("number", "of"), [(0, 4), (5, 4), (-1, 4), (1, 0)])
def test_a_share_outside_its_whole_is_refused(number: int, of: int) -> None:
    with pytest.raises(UsageError, match=f"from 1 to {of}, got {number}"):
        Share(number, of)


@given(st.integers(0, 100_000), st.integers(1, 2_000))
def test_the_shares_add_up_to_the_whole_and_are_nearly_equal(total: int, of: int) -> None:
    parts = [Share(number, of).part_of(total) for number in range(1, of + 1)]
    assert sum(parts) == total
    assert max(parts) - min(parts) <= 1


def test_a_share_pickles() -> None:
    assert pickle.loads(pickle.dumps(Share(2, 4))) == Share(2, 4)  # noqa: S301  (our own)
