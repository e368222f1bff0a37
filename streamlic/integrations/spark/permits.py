"""The permits of a token's requests that tasks lease from the driver.

Rules:
1. The server runs in the driver's own Python for as long as that does: the process that plans a
   read ends with the plan. Sessions that register the source again use the server that runs.
2. Its key travels with the source, in what Spark sends to its tasks, and not in an option.
3. A task that cannot reach the driver has an equal part of the rate, after some seconds of waiting.
"""

from __future__ import annotations

import atexit
import os
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from streamlic.truto.budget.leased import LeasedBudget
from streamlic.truto.budget.server import PermitServer
from streamlic.truto.budget.shared import shared_budget
from streamlic.truto.budget.sockets import address_text
from streamlic.truto.rate_limit import RateLimit
from streamlic.truto.settings import ConnectionSettings

_KEY_VARIABLE = "TRUTO_SPARK_PERMIT_KEY"
_PATIENCE_SECONDS = 10.0

_running = ExitStack()
_servers: dict[tuple[str, int, RateLimit], PermitServer] = {}
atexit.register(_running.close)


@dataclass(frozen=True)
class Permits:
    """Where tasks lease permits, and what all of them together may send."""

    address: str
    key: str = field(repr=False)
    limit: RateLimit


def lease_permits(limit: RateLimit, *, host: str, bind_host: str, port: int) -> Permits:
    """Start the server of a limit, or return that which runs. Tasks reach it at ``host``."""
    place = bind_host, port, limit
    if place not in _servers:
        server = PermitServer(limit, host=bind_host, port=port)
        _servers[place] = _running.enter_context(server)
    server = _servers[place]
    own_port = int(server.address.rpartition(":")[2])
    return Permits(address_text(host, own_port), server.key, limit)


def budgeted(
    settings: ConnectionSettings, permits: Permits | None, part: RateLimit | None
) -> ConnectionSettings:
    """Return settings whose requests are counted with those of other tasks.

    ``part`` is the part of the rate that this task has where it leases no permits. This process
    counts it over all of its tasks. Without a part nothing is limited.
    """
    if permits is None or part is None:
        budget = shared_budget(settings.token_id(), part)
        return replace(settings, token_share=None, budget=budget)
    variable = f"{_KEY_VARIABLE}_{permits.address.rpartition(':')[2]}"
    os.environ[variable] = permits.key
    leased = LeasedBudget(
        address=permits.address,
        key_variable=variable,
        fallback=part,
        patience_seconds=_PATIENCE_SECONDS,
    )
    return replace(settings, budget=leased)
