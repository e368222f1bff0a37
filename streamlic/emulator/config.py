"""What an emulated Truto has and how it behaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streamlic.emulator.accounts import EmulatedAccount


@dataclass(frozen=True, kw_only=True)
class EmulatorConfig:
    """What this Truto has and how it behaves.

    Every account has ``records`` licenses, unless ``accounts`` is given: then only those accounts
    exist, each with its own number, and ``GET /integrated-account`` lists them. ``latency_ms``
    passes before each answer. ``integration`` decides which parameters are required.
    ``window_seconds`` is the window of both ``rate_limits``.
    ``is_partial`` marks every answer as partial. ``compress`` encodes bodies as the client accepts.
    """

    records: int = 100_000
    seed: int = 7
    page_size: int = 100
    latency_ms: float = 0.0
    token: str | None = None
    rate_limits: bool = False
    window_seconds: float = 10.0
    accounts: Mapping[str, int | EmulatedAccount] | None = None
    integration: str = "generic"
    is_partial: bool = False
    compress: bool = False

    def records_of(self, account: str) -> int | None:
        """Return how many licenses an account has, None if it does not exist."""
        if self.accounts is None:
            return self.records
        known = self.accounts.get(account)
        return known.records if isinstance(known, EmulatedAccount) else known

    def account(self, account: str) -> EmulatedAccount:
        """Return an account that exists."""
        known = self.accounts.get(account) if self.accounts else None
        if isinstance(known, EmulatedAccount):
            return known
        records = self.records_of(account) or 0
        return EmulatedAccount(id=account, records=records, integration=self.integration)
