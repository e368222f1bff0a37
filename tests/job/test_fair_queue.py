"""The order of accounts that wait for their next page: queues by progress take turns."""

from __future__ import annotations

from streamlic.job.pipeline.fair_queue import FairQueue


def taken(queue: FairQueue[str], count: int) -> list[str]:
    return [queue.pop() or "-" for _ in range(count)]


def test_those_who_wait_alike_go_in_their_order() -> None:
    queue: FairQueue[str] = FairQueue()
    for name in "abc":
        queue.push(name, 0)
    assert len(queue) == 3
    assert taken(queue, 4) == ["a", "b", "c", "-"]
    assert len(queue) == 0


def test_lines_take_turns_however_long_they_are() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(100):
        queue.push(f"huge {number}", 1000 + number % 20)
    queue.push("new", 0)
    queue.push("second", 1)
    queue.push("third", 2)
    queue.push("fourth", 3)
    assert taken(queue, 5) == ["huge 0", "new", "second", "third", "huge 1"]
    assert taken(queue, 2) == ["fourth", "huge 2"]


def test_a_small_account_never_waits_for_many_pages_of_huge_ones() -> None:
    """Ten huge ones come back again and again; each new one gets its turn among the next two."""
    queue: FairQueue[str] = FairQueue()
    for number in range(10):
        queue.push(f"huge {number}", 500)
    for number in range(50):
        queue.push(f"small {number}", 0)
        names = []
        for _ in range(2):
            name = queue.pop() or "-"
            names.append(name)
            if name.startswith("huge"):
                queue.push(name, 500)
        assert f"small {number}" in names


def test_large_pages_without_room_let_others_pass() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.push("large", 7, is_large=True)
    assert queue.pop(has_room_for_large=False) is None
    queue.push("small", 0)
    assert queue.pop(has_room_for_large=False) == "small"
    assert len(queue) == 1
    assert queue.pop() == "large"
