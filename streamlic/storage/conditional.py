"""Writes with a condition: create an object that is not there, replace a version that is known.

Rules:
1. A request whose answer was lost is sent again by obstore, and then fails on its own effect. So
   after a refusal the object is read: if it holds our bytes, the write was ours. Callers write
   unique bytes.
2. A refusal while another request is in progress (409) means: try again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError

from streamlic.storage.base import AlreadyExists, NotFound
from streamlic.storage.cloud_errors import Place, translated
from streamlic.storage.credentials import Client

_TRIES = 20


@dataclass(frozen=True)
class Version:
    """Which version of an object a write may replace."""

    e_tag: str | None
    version: str | None

    @staticmethod
    def of(found: Any) -> Version:
        """Return the version that obstore reported, for an object or a write."""
        return Version(found["e_tag"], found["version"])

    def mode(self) -> Any:
        """Return it as obstore takes it: without what the store does not have."""
        known = {"e_tag": self.e_tag, "version": self.version}
        return {name: value for name, value in known.items() if value is not None}


def read_version(client: Client, name: str, place: Place) -> tuple[bytes, Version] | None:
    """Return an object's content and version, None if it is absent."""
    try:
        with translated("read", place):
            found = obstore.get(client, name)
            return bytes(found.bytes()), Version.of(found.meta)
    except NotFound:
        return None


def create(client: Client, name: str, data: bytes, place: Place) -> Version:
    """Create an object and return its version; AlreadyExists if another one has this name."""
    for _ in range(_TRIES):
        with translated("write", place):
            try:
                return Version.of(obstore.put(client, name, data, mode="create"))
            except (AlreadyExistsError, PreconditionError):
                pass
        found = read_version(client, name, place)
        if found and found[0] == data:
            return found[1]
        if found:
            break
    raise AlreadyExists(f"{place.name} already exists")


def swap(client: Client, name: str, data: bytes, old: Version, place: Place) -> Version | None:
    """Replace a version of an object and return the new one; None if it is not the present one."""
    with translated("write", place):
        try:
            return Version.of(obstore.put(client, name, data, mode=old.mode()))
        except (AlreadyExistsError, PreconditionError, FileNotFoundError):
            pass
    found = read_version(client, name, place)
    return found[1] if found and found[0] == data else None
