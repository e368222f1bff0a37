"""Whether an object store keeps its conditions: else two writers could replace each other's files.

Some services ignore a condition, and overwrite without a word. So one object is created twice, and
replaced once with an old version: the second of each must fail.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import obstore

from streamlic.errors import StoreError, UsageError
from streamlic.storage.base import AlreadyExists
from streamlic.storage.cloud_errors import Place, translated
from streamlic.storage.conditional import create, no_conditions, swap
from streamlic.storage.credentials import Client
from streamlic.storage.local import PROBE_PREFIX

_DIRECTORY = f"{PROBE_PREFIX}probes"
_LEFT = timedelta(hours=1)
"""The age from which a probe was left by a process that died."""


def check_conditions(client: Client, place: Place) -> None:
    """Raise UsageError for a service that ignores conditions, StoreError if it cannot be tried."""
    name = f"{_DIRECTORY}/{secrets.token_hex(16)}"
    first, second, third = (secrets.token_bytes(16) for _ in range(3))
    try:
        old = create(client, name, first, place)
        with suppress(AlreadyExists):
            create(client, name, second, place)
            raise _refused(place, "create an object only if it is absent")
        new = swap(client, name, second, old, place)
        if new is None or new == old:
            raise _refused(place, "replace an object only if it has a given version")
        if swap(client, name, third, old, place) is not None:
            raise _refused(place, "replace an object only if it has a given version")
    except BaseException:
        with suppress(StoreError):
            _delete(client, name, place)
        raise
    _delete(client, name, place)  # A run that may not delete would fail when it has read all.
    with suppress(StoreError):
        _delete_left(client, place)


def _delete(client: Client, name: str, place: Place) -> None:
    with translated("delete", place):
        obstore.delete(client, name)


def _delete_left(client: Client, place: Place) -> None:
    """Delete the probes that processes which died have left."""
    with translated("delete", place):
        found = obstore.list_with_delimiter(client, _DIRECTORY)["objects"]
        before = datetime.now(UTC) - _LEFT
        for one in found:
            if one["last_modified"] < before:
                obstore.delete(client, one["path"])


def _refused(place: Place, what: str) -> UsageError:
    return no_conditions(place, f"ignores a request to {what}")
