"""A budget that other processes share: its permits are leased from a permit server."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

from streamlic.errors import UsageError
from streamlic.truto.budget.base import TokenPermit
from streamlic.truto.budget.lessee import Lessee
from streamlic.truto.budget.sockets import parse_address
from streamlic.truto.rate_limit import RateLimit, parse_rate_limit
from streamlic.truto.wait_reasons import WaitCause

KEY_VARIABLE = "TRUTO_PERMIT_KEY"


@dataclass(frozen=True, kw_only=True)
class LeasedBudget:
    """The budget of a process that leases its permits from the PermitServer at ``address``.

    It pickles, without the key: each process reads that from ``key_file`` or, without one, from
    the variable ``key_variable``. All clients of a process lease together.

    A process that cannot reach the server waits for it, ``patience_seconds`` at most. With a
    ``fallback``, such as ``RateLimit(500, 10).share(2, 4)``, it then continues with that limit, for
    the rest of its life. Without one, whatever needs a permit raises PermitsUnavailable.
    """

    address: str
    key_file: str | Path | None = None
    key_variable: str = KEY_VARIABLE
    fallback: RateLimit | str | None = None
    patience_seconds: float = 30.0

    def __post_init__(self) -> None:
        parse_address(self.address)
        self._own_limit()

    def delay(self, now: float, wanted: int = 1) -> float:
        """Return the seconds after which to ask again; 0 if ``take`` has a permit, or raises.

        ``wanted`` is how many requests could be sent now: so many permits are leased, if there are.
        """
        return self._lessee().delay(now, wanted)

    def take(self, now: float) -> TokenPermit | None:
        """Return a permit for a request that is sent at ``now``, None if it must wait.

        Raises PermitsUnavailable, or UsageError if there is no key.
        """
        return self._lessee().take(now)

    def recount(self, permit: TokenPermit, moment: float) -> None:
        """Count a permit's request at ``moment``: it was sent later, or answered sooner."""
        self._lessee().recount(permit, moment)

    def wait_until(self, moment: float) -> None:
        """Let all processes send nothing before ``moment``: the API said so."""
        self._lessee().wait_until(moment)

    def cause(self) -> WaitCause:
        """Return why the next request waits."""
        return self._lessee().cause()

    def _own_limit(self) -> RateLimit | None:
        limit = self.fallback
        return parse_rate_limit(limit, "fallback") if isinstance(limit, str) else limit

    def _key(self) -> str:
        if self.key_file is None:
            key = os.environ.get(self.key_variable, "")
        else:
            try:
                key = Path(self.key_file).read_text()
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(
                    f"the key of the permit server cannot be read: {error}", parameter="key_file"
                ) from error
        if not key.strip():
            raise UsageError(
                f"no key of the permit server at {self.address} in {self._key_origin()}",
                parameter="key_variable" if self.key_file is None else "key_file",
            )
        return key.strip()

    def _key_origin(self) -> str:
        return str(self.key_file or self.key_variable)

    def _lessee(self) -> Lessee:
        with _lock:
            if self not in _lessees:
                _lessees[self] = Lessee(
                    self.address,
                    self._key,
                    key_origin=self._key_origin(),
                    fallback=self._own_limit(),
                    patience_seconds=self.patience_seconds,
                )
            return _lessees[self]


_lock = threading.Lock()
_lessees: dict[LeasedBudget, Lessee] = {}
"""Module state: tasks that follow each other in a process use one connection, and its permits."""


def _forget_all() -> None:
    """Forget the parent's leases: its threads are not in this process, its permits not for it."""
    global _lock  # noqa: PLW0603  (a lock that another thread held cannot be released here)
    _lock = threading.Lock()
    _lessees.clear()


os.register_at_fork(after_in_child=_forget_all)
