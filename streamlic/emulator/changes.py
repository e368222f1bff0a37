"""What changes from one night to the next: a pure function of the seed and the night.

Rules:
1. The events of a night depend on the seed, the account and the night alone, so night n always
   follows from night n - 1.
2. Ids are stable: a license or an account that came later has a number of its own, and a number
   that is gone is not used again.
3. What changed in a night says so: its ``updated_at`` is within the day that the night ends.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from streamlic.emulator.accounts import EmulatedAccount, moment_text
from streamlic.emulator.records import UNLIMITED, Shape, license_record

_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_FIRST_NIGHT = datetime(2026, 1, 1, 2, tzinfo=UTC)
_DAY_SECONDS = 86_400
_SEATS, _GONE, _NEW = 0.7, 0.15, 0.15
"""Of the licenses that change: how many get other seats, are gone, are new."""
_LOST, _DELETED, _ADDED = 0.6, 0.2, 0.2
"""Of the accounts that change: how many cannot be read for a while, are deleted, are added."""
_BLOCKED = 0.4
_MOST_NIGHTS_LOST = 7
_MOST_MOVED = 0.1
_RESIZED = 0.85
_MOST_ASSIGNED = 1.1


def night_time(night: int) -> datetime:
    """Return when a night is: night 0 is 2026-01-01 at 02:00 UTC."""
    return _FIRST_NIGHT + timedelta(days=night)


@dataclass(frozen=True)
class Change:
    """What happened to a license so far.

    ``created`` is set if the license is new since night 0. Each of ``moves`` is a number from -1 to
    1: how far its seats moved, and where to.
    """

    updated: datetime
    created: datetime | None = None
    moves: tuple[float, ...] = ()


@dataclass(frozen=True)
class Tonight:
    """The licenses of an account in one night: their numbers, and those that changed."""

    numbers: Sequence[int]
    changed: Mapping[int, Change] = field(default_factory=dict)


def licenses_tonight(
    account: EmulatedAccount, *, seed: int, changes: float, since: int, night: int
) -> Tonight:
    """Return an account's licenses; in night ``since`` it had ``account.records``."""
    changed: dict[int, Change] = {}
    gone: set[int] = set()
    total = account.records
    for one in range(since + 1, night + 1):
        rng = random.Random(f"{seed}/{account.id}/night {one}")
        events = _events(rng, total * changes * (_SEATS + _GONE))
        for number in rng.sample(range(total), min(events, total)):
            moment, draw, move = _moment(rng, one), rng.random(), rng.uniform(-1, 1)
            if number in gone:
                continue
            if draw * (_SEATS + _GONE) < _GONE:
                gone.add(number)
                changed.pop(number, None)
            else:
                before = changed.get(number)
                changed[number] = Change(
                    moment,
                    before.created if before else None,
                    (*(before.moves if before else ()), move),
                )
        for _ in range(_events(rng, account.records * changes * _NEW)):
            moment = _moment(rng, one)
            changed[total] = Change(moment, moment)
            total += 1
    kept = [number for number in range(total) if number not in gone] if gone else range(total)
    return Tonight(kept, changed)


def account_tonight(
    account: EmulatedAccount, *, seed: int, changes: float, since: int, night: int
) -> EmulatedAccount | None:
    """Return an account as it is in a night, None if it is deleted; ``account`` is night ``since``.

    An account that is blocked or must be connected again comes back within a week.
    """
    rng = random.Random(f"{seed}/{account.id}/nights")
    healthy = replace(account, status="active", is_blocked=False)
    now, at = account, since
    while at < night:
        if now.status == "active" and not now.is_blocked:
            at += _nights_until_event(rng, changes * (_LOST + _DELETED))
            kind, is_blocked = rng.random() * (_LOST + _DELETED), rng.random() < _BLOCKED
            if at > night:
                break
            if kind < _DELETED:
                return None
            status = "active" if is_blocked else "needs_reauth"
            now = replace(healthy, status=status, is_blocked=is_blocked)
        else:
            at += rng.randint(1, _MOST_NIGHTS_LOST)
            if at > night:
                break
            now = healthy
        now = replace(now, updated_at=moment_text(_moment(rng, at)))
    return now


def added(rng: random.Random, count: int, changes: float) -> int:
    """Return how many accounts a night adds, where there were ``count`` at first."""
    return _events(rng, count * changes * _ADDED)


def created_in(rng: random.Random, night: int) -> str:
    """Return when something of a night was created."""
    return moment_text(_moment(rng, night))


def changed_json(seed: int, account: str, i: int, shape: Shape, change: Change) -> bytes:
    """Return the bytes of record ``i`` after its change."""
    record = license_record(seed, account, i, _whole(shape))
    _move(record, change.moves)
    if change.created:
        record["created_at"] = moment_text(change.created)
    record["updated_at"] = moment_text(change.updated)
    kept = record["remote_data"] if shape.raw else {
        key: value for key, value in record.items() if key not in shape.excluded
    }  # fmt: skip
    return _JSON.encode(kept).encode()


@lru_cache(maxsize=64)
def _whole(shape: Shape) -> Shape:
    """Return a shape of records with all fields, so that a change finds what it moves."""
    return replace(shape, excluded=frozenset(), raw=False)


def _move(record: dict[str, Any], moves: tuple[float, ...]) -> None:
    """Move a record's seats, as the vendor's own object counts them."""
    remote = record["remote_data"]
    bought, seats_key, taken, used_key = (
        (remote["prepaidUnits"], "enabled", remote, "consumedUnits") if "prepaidUnits" in remote
        else (remote["seats"], "purchased", remote["seats"], "used")
    )  # fmt: skip
    seats, used = bought[seats_key], taken[used_key]
    for move in moves:
        step = max(1, round(abs(move) * _MOST_MOVED * max(seats, used)))
        if seats != UNLIMITED and abs(move) > _RESIZED:
            seats = max(1, seats + (step if move > 0 else -step))
        most = used + step if seats == UNLIMITED else max(1, int(seats * _MOST_ASSIGNED))
        is_up = used < step or (move > 0 and used + step <= most)
        used = min(used + step, most) if is_up else used - step
    bought[seats_key], taken[used_key] = seats, used
    for key, value in (("available_quantity", seats), ("assigned_quantity", used)):
        if isinstance(record.get(key), int):  # Not a value of another type, nor one left out.
            record[key] = value


def _moment(rng: random.Random, night: int) -> datetime:
    return night_time(night) - timedelta(seconds=rng.randrange(1, _DAY_SECONDS))


def _events(rng: random.Random, expected: float) -> int:
    """Return a whole number that is ``expected`` on average."""
    return int(expected + rng.random())


def _nights_until_event(rng: random.Random, share: float) -> int:
    """Return after how many nights an event of this chance a night happens, at least 1."""
    draw = 1 - rng.random()
    if not 0 < share < 1:
        return 1 if share else 1 << 30
    return 1 + int(math.log(draw) / math.log(1 - share))
