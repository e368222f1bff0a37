"""The world of an emulated Truto in one night: its accounts, and the licenses of each."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from streamlic.emulator.accounts import EmulatedAccount, numbered_account
from streamlic.emulator.changes import (
    Tonight,
    account_tonight,
    added,
    changed_json,
    created_in,
    licenses_tonight,
)
from streamlic.emulator.records import Shape, blocks, license_id


@dataclass(frozen=True, kw_only=True)
class World:
    """What there is in a night: a pure function of the fields.

    ``first`` are the accounts of night 0 with their licenses, or their number of licenses. If it is
    None, every account exists with ``records`` licenses, and none is listed. ``changes`` is about
    the share of licenses and of accounts that change from one night to the next.
    """

    first: Mapping[str, int | EmulatedAccount] | None
    seed: int = 7
    night: int = 0
    changes: float = 0.03
    records: int = 100_000
    integration: str = "generic"

    @cached_property
    def accounts(self) -> Mapping[str, EmulatedAccount]:
        """The accounts that are listed, by id, in the order of the list."""
        known = ((id_, self.account(id_)) for id_ in (*(self.first or ()), *self._added))
        return {id_: account for id_, account in known if account}

    def account(self, account: str) -> EmulatedAccount | None:
        """Return an account as it is in this night, None if it does not exist."""
        found = self._found(account)
        if found is None or self.first is None or self.night == 0:
            return found[0] if found else None
        first, since = found
        return account_tonight(
            first, seed=self.seed, changes=self.changes, since=since, night=self.night
        )

    def tonight(self, account: str) -> Tonight:
        """Return the licenses of an account that exists."""
        first, since = self._found(account) or (EmulatedAccount(id=account, records=0), 0)
        if self.night == since:
            return Tonight(range(first.records))
        if account not in self._tonight:
            self._tonight[account] = licenses_tonight(
                first, seed=self.seed, changes=self.changes, since=since, night=self.night
            )
        return self._tonight[account]

    def licenses(self, account: str) -> list[dict[str, Any]]:
        """Return every license of an account in order, as ``json.loads`` reads it.

        They are those that the API would list if the account can be read.
        """
        found = self.account(account)
        if found is None:
            return []
        tonight, shape = self.tonight(account), Shape(integration=found.integration)
        body = b"".join(texts(self.seed, account, tonight, shape))
        rows: list[dict[str, Any]] = json.loads(b"[" + body + b"]")
        return rows

    def _found(self, account: str) -> tuple[EmulatedAccount, int] | None:
        """Return an account as it was in its first night, and which night that was."""
        if self.first is None:
            return self._plain(account, self.records), 0
        known = self.first.get(account)
        if isinstance(known, int):
            return self._plain(account, known), 0
        return (known, 0) if known else self._added.get(account)

    def _plain(self, account: str, records: int) -> EmulatedAccount:
        return EmulatedAccount(id=account, records=records, integration=self.integration)

    @cached_property
    def _added(self) -> Mapping[str, tuple[EmulatedAccount, int]]:
        """The accounts that came since night 0: each has as many licenses as one of the first."""
        if not self.first or self.night == 0:
            return {}
        sizes = [one if isinstance(one, int) else one.records for one in self.first.values()]
        found: dict[str, tuple[EmulatedAccount, int]] = {}
        for night in range(1, self.night + 1):
            rng = random.Random(f"{self.seed}/added/{night}")
            for _ in range(added(rng, len(sizes), self.changes)):
                at = created_in(rng, night)
                number = len(sizes) + len(found)
                account = replace(
                    numbered_account(number, self.seed, rng.choice(sizes)),
                    created_at=at,
                    updated_at=at,
                )
                found[account.id] = account, night
        return found

    @cached_property
    def _tonight(self) -> dict[str, Tonight]:
        return {}


def world(
    accounts: Mapping[str, int | EmulatedAccount] | None,
    *,
    night: int,
    seed: int = 7,
    changes: float = 0.03,
) -> World:
    """Return the world of a night that started in night 0 with ``accounts``."""
    return World(first=accounts, night=night, seed=seed, changes=changes)


def texts(
    seed: int, account: str, page: Tonight, shape: Shape, *, is_keyed: bool = False
) -> Iterator[bytes]:
    """Yield the records of a page of a night's licenses, joined by commas."""
    is_first = True
    for run in _runs(page):
        if change := page.changed.get(run.start):
            key = b'"%b":' % license_id(account, run.start).encode() if is_keyed else b""
            blocks_of_run = iter([key + changed_json(seed, account, run.start, shape, change)])
        else:
            blocks_of_run = blocks(seed, account, run.start, run.stop, shape, is_keyed=is_keyed)
        if not is_first:
            yield b","
        yield from blocks_of_run
        is_first = False


def _runs(page: Tonight) -> Iterator[range]:
    """Yield the numbers in runs: one that changed, or as many as follow each other unchanged."""
    if isinstance(page.numbers, range) and not page.changed:
        yield page.numbers
        return
    start = stop = 0
    for number in page.numbers:
        if number in page.changed:
            if start < stop:
                yield range(start, stop)
            yield range(number, number + 1)
            start = stop = number + 1
        elif number == stop:
            stop += 1
        else:
            if start < stop:
                yield range(start, stop)
            start, stop = number, number + 1
    if start < stop:
        yield range(start, stop)
