"""Whose turn it is: by lines that take turns."""

from __future__ import annotations

from streamlic.job.fair_queue import Turns


def taken(turns: Turns[str], count: int) -> list[str]:
    return [turns.take() or "-" for _ in range(count)]


def test_those_who_wait_alike_go_in_their_order() -> None:
    turns: Turns[str] = Turns()
    for name in "abc":
        turns.add(name, 0)
    assert len(turns) == 3
    assert taken(turns, 4) == ["a", "b", "c", "-"]
    assert len(turns) == 0


def test_lines_take_turns_however_long_they_are() -> None:
    turns: Turns[str] = Turns()
    for number in range(100):
        turns.add(f"huge {number}", 1000 + number % 20)
    turns.add("new", 0)
    turns.add("second", 1)
    turns.add("third", 2)
    turns.add("fourth", 3)
    assert taken(turns, 5) == ["huge 0", "new", "second", "third", "huge 1"]
    assert taken(turns, 2) == ["fourth", "huge 2"]


def test_a_small_account_never_waits_for_many_pages_of_huge_ones() -> None:
    """Ten huge ones come back again and again; each new one gets its turn among the next two."""
    turns: Turns[str] = Turns()
    for number in range(10):
        turns.add(f"huge {number}", 500)
    for number in range(50):
        turns.add(f"small {number}", 0)
        names = []
        for _ in range(2):
            name = turns.take() or "-"
            names.append(name)
            if name.startswith("huge"):
                turns.add(name, 500)
        assert f"small {number}" in names


def test_large_pages_without_room_let_others_pass() -> None:
    turns: Turns[str] = Turns()
    turns.add("large", 7, is_large=True)
    assert turns.take(has_room_for_large=False) is None
    turns.add("small", 0)
    assert turns.take(has_room_for_large=False) == "small"
    assert len(turns) == 1
    assert turns.take() == "large"
