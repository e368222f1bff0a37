"""The accounts of an emulated Truto: a pure function of the seed and their number."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from streamlic.emulator.vendors import PRODUCTS, TENANTS

SIZES = ("equal", "power-law")
ACCOUNT_SECRET = "emulated-secret"  # noqa: S105  (made up, to be looked for)
"""In every credential of an account that the API shows: a client must keep none of them."""
_CREATED_AT = "2025-06-01T09:00:00.000Z"
_MOST_RECORDS_FACTOR = 1000
_INTEGRATIONS = tuple(PRODUCTS)
_ODD = 2_654_435_761  # Multiplication by an odd number keeps the first eight digits unique.


@dataclass(frozen=True, kw_only=True)
class EmulatedAccount:
    """An account: its number of licenses in its first night, and whether it can be read."""

    id: str
    records: int
    tenant_id: str = TENANTS[0]
    integration: str = "generic"
    status: str = "active"
    is_blocked: bool = False
    created_at: str = _CREATED_AT
    updated_at: str = _CREATED_AT

    def listed(self) -> dict[str, Any]:
        """Return it as Truto has it, with credentials that a client must not keep."""
        secret = f"{ACCOUNT_SECRET}-{self.id}"
        error = {
            "message": f"The remote API refused the token {secret}",
            "at": self.updated_at,
        }
        return {
            "id": self.id,
            "tenant_id": self.tenant_id,
            "environment_integration_id": f"env-{self.integration}",
            "integration": {"name": self.integration},
            "authentication_method": "oauth2",
            "status": self.status,
            "is_blocked": self.is_blocked,
            "is_sandbox": False,
            "context": {"oauth": {"token": {"access_token": secret, "token_type": "Bearer"}}},
            "last_error": None if self.status == "active" else error,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }


def emulated_accounts(
    count: int,
    *,
    seed: int = 7,
    records: int = 20,
    sizes: str = "equal",
    unhealthy_share: float = 0.0,
) -> Mapping[str, EmulatedAccount]:
    """Return ``count`` accounts by id, in a fixed order.

    With ``sizes="equal"`` each has ``records`` licenses. With ``"power-law"`` most accounts are
    small and a few are huge: sizes follow a Pareto distribution with exponent 1, from ``records``
    up to a thousand times as many. A share of ``unhealthy_share`` is blocked or must be connected
    again.
    """
    accounts = (_account(i, seed, records, sizes, unhealthy_share) for i in range(count))
    return {account.id: account for account in accounts}


def numbered_account(i: int, seed: int, records: int) -> EmulatedAccount:
    """Return account ``i`` (from 0) with this number of licenses, readable."""
    return EmulatedAccount(
        id=f"{(i + 1) * _ODD % 2**32:08x}-{seed % 2**16:04x}-4000-8000-{i:012x}",
        records=records,
        tenant_id=TENANTS[i % len(TENANTS)],
        integration=_INTEGRATIONS[i % len(_INTEGRATIONS)],
    )


def moment_text(moment: datetime) -> str:
    """Return a moment in UTC as Truto writes it."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _account(
    i: int, seed: int, records: int, sizes: str, unhealthy_share: float
) -> EmulatedAccount:
    rng = random.Random(f"{seed}/account/{i}")
    drawn = min(1 / (1 - rng.random()), _MOST_RECORDS_FACTOR)
    is_unhealthy = rng.random() < unhealthy_share
    is_blocked = is_unhealthy and rng.random() < 0.5
    return replace(
        numbered_account(i, seed, int(records * drawn) if sizes == "power-law" else records),
        status="needs_reauth" if is_unhealthy and not is_blocked else "active",
        is_blocked=is_blocked,
    )
