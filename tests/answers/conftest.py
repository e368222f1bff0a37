"""A lake of a few nights, and what it must answer: counted in Python, by the emulator's own."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from streamlic.emulator import EmulatorConfig, emulated_accounts
from streamlic.emulator.worlds import World
from tests.support.cli import run_cli
from tests.support.nights import records_of
from tests.support.oracle import expected_row
from tests.support.server_thread import served

NIGHTS = 5


@dataclass(frozen=True)
class Seats:
    """A license, as it must be counted."""

    account: str
    integration: str | None
    tenant: str | None
    row: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, str]:
        return self.account, self.row["id"]

    @property
    def kind(self) -> str:
        return {True: "paid", False: "free", None: "unknown"}[self.row["is_paid"]]

    @property
    def seats(self) -> int | None:
        found = self.row["available_quantity"]
        return found if found is not None and 0 <= found < 2**31 - 1 else None

    @property
    def assigned(self) -> int | None:
        found = self.row["assigned_quantity"]
        is_unlimited = self.row["available_quantity"] is not None and self.seats is None
        return None if found is None or found < 0 or is_unlimited else found

    @property
    def unused(self) -> int | None:
        if self.seats is None or self.assigned is None:
            return None
        return max(self.seats - self.assigned, 0)

    @property
    def over(self) -> int:
        return max((self.assigned or 0) - (self.seats or 0), 0) if self.unused is not None else 0

    @property
    def cost(self) -> float | None:
        price = self.row["unit_amount"]
        is_priced = self.kind == "paid" and price is not None and self.row["currency"] is not None
        return self.unused * price if is_priced and self.unused is not None else None


@dataclass
class Answers:
    """What a lake must answer, night by night."""

    dest: Path
    nights: list[list[Seats]] = field(default_factory=list)
    """The licenses of each night: those last read of accounts that were not read in it."""
    listed: list[set[str]] = field(default_factory=list)
    """The accounts of each night, read or not."""
    read: list[set[str]] = field(default_factory=list)
    """Those that were read by then."""

    def add(self, world: World) -> None:
        """Add a night."""
        before = defaultdict(list)
        for one in self.nights[-1] if self.nights else []:
            before[one.account].append(one)
        now: list[Seats] = []
        listed = world.accounts
        for account in listed.values():
            if account.is_blocked or account.status != "active":
                now += before[account.id]
                continue
            for record in records_of(world, account):
                row, _ = expected_row(record, most=1000)
                now.append(Seats(account.id, account.integration, account.tenant_id, row))
        self.nights.append(now)
        earlier = self.read[-1] if self.read else set()
        healthy = {
            one.id for one in listed.values() if not one.is_blocked and one.status == "active"
        }
        self.listed.append({*listed})
        self.read.append(earlier | healthy)

    def compared(self, before: int, after: int) -> set[str]:
        """Return the accounts of two nights whose licenses can be compared."""
        return self.read[before] | (self.listed[after] - self.listed[before])

    def paid(self, night: int = -1) -> list[Seats]:
        return [one for one in self.nights[night] if one.kind == "paid"]

    def unused_by(self, what: str, night: int = -1) -> Counter[Any]:
        found: Counter[Any] = Counter()
        for one in self.paid(night):
            found[getattr(one, what)] += one.unused or 0
        return found


@pytest.fixture(scope="session")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    return landed(tmp_path_factory.mktemp("answers") / "lake", NIGHTS)


def landed(dest: Path, nights: int) -> Answers:
    """Export an emulated API night by night, and return what the lake must answer."""
    found = Answers(dest)
    accounts = emulated_accounts(12, records=30, seed=7, unhealthy_share=0.2)
    config = EmulatorConfig(accounts=accounts, nights=nights, changes=0.2, seed=7)
    with served(config) as emulator:
        for night in range(nights):
            emulator.night = night
            ended = asyncio.run(
                run_cli(
                    "export", str(found.dest), "--all-accounts", "--mode", "append",
                    "--run-key", f"night-{night}", "--base-url", emulator.url, "--rate-limit",
                    "none", "--quiet", "--json",
                )
            )  # fmt: skip
            assert ended.code == 0, ended.err
            found.add(emulator.world)
    return found
