"""Readers of licenses for tests: against one server, without waits."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable
from typing import Any

import streamlic
from streamlic.emulator import license_json
from tests.support.cli import TOKEN
from tests.support.oracle import parsed
from tests.support.server_thread import WAIT_SECONDS

SETTINGS = {field.name for field in dataclasses.fields(streamlic.ConnectionSettings)}
AT_ONCE = streamlic.RetryPolicy(backoff_seconds=0)
"""Retries without waiting."""
SOON = streamlic.RetryPolicy(backoff_seconds=0, retry_for_seconds=0)
"""Retries without waiting, and gives up after four attempts."""


def settings_of(url: str, **given: Any) -> streamlic.ConnectionSettings:
    """Return settings for a server of a test."""
    settings = {"token": TOKEN, "base_url": url, "rate_limit": "none", "retry": AT_ONCE, **given}
    return streamlic.ConnectionSettings(**settings)


def read(
    url: str, account: str | Iterable[str] | None = None, **given: Any
) -> streamlic.LicensesReader:
    """Return a reader; ``given`` are its parameters and those of the connection."""
    settings = {name: given.pop(name) for name in SETTINGS if name in given}
    return streamlic.read_licenses(account, connection=settings_of(url, **settings), **given)


def ids(account: str, records: int) -> list[str]:
    """Return the ids of an account's licenses in the emulator, in order."""
    return [parsed(license_json(7, account, i))["id"] for i in range(records)]


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds; TimeoutError if it does not come to that."""
    end = time.monotonic() + WAIT_SECONDS
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.01)
