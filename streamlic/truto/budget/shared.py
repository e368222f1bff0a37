"""One budget a process and token, for jobs and tasks that follow each other in the process.

An engine such as Spark runs many tasks in one worker process, one after the other. A count that
ended with its task would let the next task send a whole limit at once.
"""

from __future__ import annotations

import os
import threading

from streamlic.truto.rate_limit import TOKEN_RATE_LIMIT, LocalBudget, RateLimit

_lock = threading.Lock()
_budgets: dict[str, LocalBudget] = {}


def shared_budget(token_id: str, limit: RateLimit | None = TOKEN_RATE_LIMIT) -> LocalBudget:
    """Return this process's one budget of a token, with ``limit`` from now on.

    ``token_id`` is ``ConnectionSettings.token_id()``. What was counted stays counted if the limit
    changes. A forked process has budgets of its own.
    """
    with _lock:
        budget = _budgets.get(token_id)
        if budget is None:
            budget = _budgets[token_id] = LocalBudget(limit)
        elif budget.limit != limit:
            budget.limit = limit
        return budget


def _forget_all() -> None:
    """Forget the parent's budgets: it counts its own requests, and may have held the lock."""
    global _lock  # noqa: PLW0603  (a lock that another thread held cannot be released here)
    _lock = threading.Lock()
    _budgets.clear()


os.register_at_fork(after_in_child=_forget_all)
