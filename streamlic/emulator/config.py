"""What an emulated Truto has and how it behaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from streamlic.emulator.accounts import EmulatedAccount
from streamlic.emulator.worlds import World


@dataclass(frozen=True, kw_only=True)
class EmulatorConfig:
    """What this Truto has and how it behaves.

    Every account has ``records`` licenses, unless ``accounts`` is given: then only those accounts
    exist, each with its own number, and ``GET /integrated-account`` lists them. ``latency_ms``
    passes before each answer. ``integration`` decides which parameters are required.
    ``window_seconds`` is the window of both ``rate_limits``, in which a token may send
    ``token_requests``, and each account receive ``account_requests``.
    ``is_partial`` marks every answer as partial. ``compress`` encodes bodies as the client accepts.

    ``accounts`` and ``records`` are those of night 0. From one night to the next about a share of
    ``changes`` of the licenses and of the accounts changes. ``nights`` is how many of them
    ``POST /emulator/night`` can reach.
    """

    records: int = 100_000
    seed: int = 7
    page_size: int = 100
    latency_ms: float = 0.0
    token: str | None = None
    rate_limits: bool = False
    window_seconds: float = 10.0
    token_requests: int = 500
    account_requests: int = 50
    accounts: Mapping[str, int | EmulatedAccount] | None = None
    integration: str = "generic"
    is_partial: bool = False
    compress: bool = False

    night: int = 0
    nights: int = 1
    changes: float = 0.03

    @cached_property
    def world(self) -> World:
        """What there is in this night."""
        return World(
            first=self.accounts,
            seed=self.seed,
            night=self.night,
            changes=self.changes,
            records=self.records,
            integration=self.integration,
        )
