"""Writes with a condition: create an object that is not there, replace a version that is known.

Rules:
1. A request whose answer was lost is sent again by obstore, and then fails on its own effect. So
   after a refusal the object is read: if it holds our bytes, the write was ours. Callers write
   unique bytes.
2. A refusal while another request is in progress (409) means: try again.
3. obstore does not repeat such a write when its connection breaks, for it cannot know whether it
   was done. A look at the object can: so it is repeated here.
4. A service that has no such writes is not the place for a lake: some say so (501), others ignore
   the condition, which ``probe`` finds out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

from streamlic.errors import UsageError
from streamlic.storage.attempts import attempts
from streamlic.storage.base import AlreadyExists, NotFound
from streamlic.storage.cloud_errors import Place, is_broken, is_unknown, translated
from streamlic.storage.credentials import RETRIES, Client

_UNKNOWN = "has no conditional writes (501)"


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


def no_conditions(place: Place, what: str) -> UsageError:
    """Return the error for a service that does not keep conditions. ``what`` it did instead."""
    return UsageError(
        f"{place.name}: this store {what}, without which one writer could replace the files of "
        "another",
        advice="choose a {dest} in a store with conditional writes, such as S3, Google Cloud "
        "Storage or Azure",
    )


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
    for attempt in attempts():
        with translated("write", place):
            try:
                return Version.of(obstore.put(client, name, data, mode="create"))
            except (AlreadyExistsError, PreconditionError):
                pass
            except BaseError as error:
                if is_unknown(error):
                    raise no_conditions(place, _UNKNOWN) from None
                if attempt.is_last or not is_broken(error):
                    raise
        found = read_version(client, name, place)
        if found and found[0] == data:
            return found[1]
        if found:
            break
    raise AlreadyExists(f"{place.name} already exists")


def swap(
    client: Client, name: str, data: bytes, old: Version, place: Place, *, retries: int = RETRIES
) -> Version | None:
    """Replace a version of an object and return the new one; None if it is not the present one."""
    for attempt in attempts(retries=retries):
        with translated("write", place):
            try:
                return Version.of(obstore.put(client, name, data, mode=old.mode()))
            except (AlreadyExistsError, PreconditionError, FileNotFoundError):
                pass
            except BaseError as error:
                if is_unknown(error):
                    raise no_conditions(place, _UNKNOWN) from None
                if attempt.is_last or not is_broken(error):
                    raise
        found = read_version(client, name, place)
        if found is None or found[1] != old:
            return found[1] if found and found[0] == data else None
    return None
