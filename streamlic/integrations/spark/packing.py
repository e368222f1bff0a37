"""Which accounts a Spark task reads: as few tasks as keep all cores busy until the end. Pure.

Rules:
1. The heaviest account is placed first, each into the lightest bundle. So an account that weighs
   more than the average bundle has a bundle of its own.
2. Bundles are in order of their weight, the heaviest first: Spark starts tasks in this order, and
   so the longest does not start last.
3. The same accounts, weights and slots give the same bundles.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from statistics import median

_BUNDLES_PER_SLOT = 3
_LEAST_WEIGHT = 50.0
"""What one account may ask for in ten seconds: less is not worth a task of its own."""


def pack(accounts: Sequence[str], weights: Mapping[str, float], slots: int) -> list[list[str]]:
    """Divide accounts into bundles, one for each task; no bundle is empty.

    ``weights`` are pages that an earlier run has read, by account; an account without a weight gets
    the median of the others. ``slots`` is the number of tasks that run at once. There are at least
    as many bundles as slots, and up to three times as many if each has 50 pages then, but never
    more than accounts.
    """
    if not accounts:
        return []
    known = [weights[one] for one in accounts if one in weights]
    unknown = median(known) if known else 1.0
    sized = {one: max(float(weights.get(one, unknown)), 1.0) for one in accounts}
    count = min(_bundles(sum(sized.values()), max(slots, 1)), len(sized))
    lightest = [(0.0, number) for number in range(count)]
    bundles: list[list[str]] = [[] for _ in range(count)]
    for account in sorted(sized, key=lambda one: -sized[one]):  # Equal ones stay in their order.
        weight, number = heapq.heappop(lightest)
        bundles[number].append(account)
        heapq.heappush(lightest, (weight + sized[account], number))
    heaviest_first = sorted(lightest, key=lambda one: (-one[0], one[1]))
    return [bundles[number] for _, number in heaviest_first]


def _bundles(weight: float, slots: int) -> int:
    return min(max(int(weight / _LEAST_WEIGHT), slots), slots * _BUNDLES_PER_SLOT)
