"""A process that shows changes of a lake of Delta tables, and dies where a test wants it to."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from functools import wraps
from multiprocessing import get_context
from types import MappingProxyType
from typing import Any

from streamlic.storage.local import LocalStore
from streamlic.tables.delta.table import Table
from tests.support.delta import BUCKET, NIGHTS, Lake

MONDAY, TUESDAY = NIGHTS[:2]
Work = Callable[[LocalStore], None]
_SERVER = get_context("forkserver")
_STEPS = ("opened", "create", "add_columns", "commit")
"""The calls of deltalake that a change makes."""


class OnS3(LocalStore):
    """Part files on the local disk, as the writer reads their footers, and Delta's logs on S3."""

    def where(self, name: str = "") -> str:
        return f"s3://{BUCKET}/{self.root.name}/{name}"


def show_monday(store: LocalStore) -> None:
    """Show the first night."""
    lake = Lake(store)
    lake.show(1, lake.night(MONDAY))


def show_tuesday(store: LocalStore) -> None:
    """Show the second night in the place of the first one."""
    lake = Lake(store)
    lake.show(2, lake.night(TUESDAY), hidden=[lake.part(MONDAY, 1)])


def died_at(
    work: Work,
    store: LocalStore,
    point: int = 0,
    *,
    env: Mapping[str, str] = MappingProxyType({}),
    started: Callable[[int], None] = lambda _: None,
) -> bool:
    """Work in a process of its own; return whether it was killed.

    It kills itself at a point, from 1: before and after each call of deltalake is one.
    """
    process = _SERVER.Process(target=_run, args=(work, store, point, dict(env)), daemon=True)
    process.start()
    started(process.pid or 0)
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def _run(work: Work, store: LocalStore, point: int, env: dict[str, str]) -> None:
    os.environ.update(env)
    left = point

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def counting(*given: Any, **named: Any) -> Any:
            count()
            result = call(*given, **named)
            count()
            return result

        return counting

    for name in _STEPS:
        call = getattr(Table, name)
        is_of_class = hasattr(call, "__self__")
        setattr(Table, name, staticmethod(counted(call)) if is_of_class else counted(call))
    work(store)
