"""Which accounts a task reads: every account once, the huge ones alone, few tasks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamlic.integrations.spark.packing import pack

NAMES = [f"account-{number}" for number in range(60)]


def loads(bundles: list[list[str]], weights: dict[str, float]) -> list[float]:
    return [sum(weights[one] for one in bundle) for bundle in bundles]


@given(
    st.lists(st.sampled_from(NAMES), unique=True),
    st.dictionaries(st.sampled_from(NAMES), st.integers(0, 10**6)),
    st.integers(1, 20),
)
def test_every_account_is_in_one_bundle_and_no_bundle_is_empty(
    accounts: list[str], weights: dict[str, int], slots: int
) -> None:
    bundles = pack(accounts, weights, slots)
    assert sorted(one for bundle in bundles for one in bundle) == sorted(accounts)
    assert all(bundles)
    assert min(len(accounts), slots) <= len(bundles) <= max(3 * slots, len(accounts) and 1)
    assert bundles == pack(accounts, weights, slots)


@given(st.lists(st.integers(1, 10**5), min_size=1, max_size=60), st.integers(1, 20))
def test_a_huge_account_is_alone_and_the_heaviest_bundle_comes_first(
    sizes: list[int], slots: int
) -> None:
    weights = {name: float(size) for name, size in zip(NAMES, sizes, strict=False)}
    bundles = pack(list(weights), weights, slots)
    average = sum(weights.values()) / len(bundles)
    for bundle in bundles:
        assert len(bundle) == 1 or all(weights[one] <= average for one in bundle)
    found = loads(bundles, weights)
    assert found == sorted(found, reverse=True)
    assert max(found) <= average + max(weights.values())


def test_the_heaviest_account_is_first_in_its_bundle() -> None:
    weights = {"small": 1.0, "huge": 900.0, "middle": 60.0, "large": 300.0}
    assert pack(list(weights), weights, 2)[0] == ["huge"]
    assert pack(["small", "middle", "large"], weights, 1) == [["large"], ["middle"], ["small"]]
    assert pack(["small", "middle"], weights, 1) == [["middle", "small"]]


def test_an_unknown_account_weighs_as_much_as_the_median() -> None:
    weights = {"a": 10.0, "b": 400.0, "c": 100.0}
    assert pack(["new", "a", "b", "c"], weights, 2) == [["b"], ["new"], ["c"], ["a"]]
    assert pack(["new"], {}, 4) == [["new"]]


def test_small_accounts_share_as_many_tasks_as_run_at_once() -> None:
    """Twenty accounts of a page each are not worth sixty tasks."""
    assert [len(bundle) for bundle in pack(NAMES[:20], {}, 2)] == [10, 10]
    assert len(pack(NAMES, dict.fromkeys(NAMES, 100), 4)) == 12
