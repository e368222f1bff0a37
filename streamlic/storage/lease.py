"""One writer at a time, by an object that its holder renews.

Rules:
1. Only a request with a condition creates, renews, takes over or ends a lease. No store deletes an
   object on a condition: so one that has ended stays, with a length of 0.
2. A rival watches the object's version for the length of the lease, by its own clock. If it does
   not change, the holder is dead or stopped, and the rival takes over.
3. A lease is politeness. A holder that was stopped may lose it unseen and write more: the commit
   log keeps that one out. So nothing happens when a lease is lost.
4. Renewing and ending it asks the store for seconds only: a holder that ends does not wait for a
   store that is silent, and its lease ends by itself.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime

import obstore

from streamlic.errors import DatasetConflict, StoreError
from streamlic.storage.base import AlreadyExists, LockHeld, NotFound
from streamlic.storage.cloud_errors import Place, translated
from streamlic.storage.conditional import Version, create, read_version, swap
from streamlic.storage.credentials import Clients
from streamlic.system.process import this_process

LEASE_SECONDS = 30.0
_RENEWALS = 3
"""How often a lease is renewed in its length."""
_LOOKS = 30
"""How often a rival looks at a lease in its length."""
_SKEW_SECONDS = 60
"""How much a reader's clock may differ from the store's: it only decides what a reader is shown."""
_log = logging.getLogger("streamlic")


@dataclass(frozen=True)
class Lease:
    """What the object says."""

    writer: str
    """The holder, as ``process 12 on host``."""
    nonce: str
    renewals: int
    seconds: float
    """Its length: how long it may be without a renewal. It has ended if that is 0."""

    def to_bytes(self) -> bytes:
        """Return it as JSON."""
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def parsed(data: bytes) -> Lease | None:
        """Return what the object says, None if it is not a lease."""
        try:
            found = json.loads(data)
            return Lease(
                str(found["writer"])[:200],
                str(found["nonce"]),
                int(found["renewals"]),
                float(found["seconds"]),
            )
        except (ValueError, TypeError, KeyError):
            return None


@dataclass(frozen=True)
class LeasedObject:
    """The object of a lease."""

    clients: Clients
    name: str
    place: Place
    seconds: float = LEASE_SECONDS
    takes_over: bool = False
    given_up: threading.Event = field(default_factory=threading.Event)
    """Set by a thread that wants another one to wait no longer."""

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lease while the context lasts; DatasetConflict names another holder."""
        lease = Lease(this_process(), secrets.token_hex(16), 0, self.seconds)
        version = self._taken(lease)
        ended, is_reached = threading.Event(), threading.Event()
        is_reached.set()
        renewer = threading.Thread(
            target=self._renew,
            args=(lease, version, ended, is_reached),
            name="streamlic-lease",
            daemon=True,
        )
        renewer.start()
        try:
            yield
        finally:
            ended.set()
            renewer.join()
            if is_reached.is_set():
                with suppress(StoreError):
                    self._release(lease)

    def writer(self) -> str:
        """Describe the holder, or one that may be; empty if there is none."""
        try:
            with translated("read", self.place):
                found = obstore.get(self.clients.small, self.name)
                data, renewed = bytes(found.bytes()), found.meta["last_modified"]
        except NotFound:
            return ""
        lease = Lease.parsed(data)
        if lease is None or lease.seconds <= 0:
            return ""
        silent = (datetime.now(UTC) - renewed).total_seconds()
        if silent <= lease.seconds + 1:  # Times of objects are whole seconds.
            return f"a writer is active ({lease.writer})"
        if silent <= lease.seconds + _SKEW_SECONDS:
            return f"{lease.writer} may be active: it renewed its lease {silent:.0f} s ago"
        return ""

    def _taken(self, mine: Lease) -> Version:
        """Take the lease, now or when its holder has let it end."""
        while True:
            with suppress(AlreadyExists):
                return create(self.clients.small, self.name, mine.to_bytes(), self.place)
            found = read_version(self.clients.small, self.name, self.place)
            if found is None:
                continue
            data, version = found
            held = Lease.parsed(data)
            if held is not None and held.seconds > 0 and not self.takes_over:
                self._watch(held, version)
            taken = swap(self.clients.small, self.name, mine.to_bytes(), version, self.place)
            if taken is not None:
                return taken

    def _watch(self, held: Lease, version: Version) -> None:
        """Wait for the length of a lease; DatasetConflict if its holder renews it meanwhile."""
        end = time.monotonic() + held.seconds
        _log.warning(
            "%s writes %s, or died while it did: waiting %.0f s for its lease to end",
            held.writer,
            self.place.name,
            held.seconds,
        )
        while (left := end - time.monotonic()) > 0:
            if self.given_up.wait(min(left, held.seconds / _LOOKS)):
                raise DatasetConflict(
                    f"gave up waiting for the lease of {self.place.name} ({held.writer})"
                )
            found = read_version(self.clients.small, self.name, self.place)
            if found is None:
                return
            if found[1] != version:
                now = Lease.parsed(found[0]) or held
                raise LockHeld(
                    f"another writer is active in {self.place.name} ({now.writer})",
                    advice="wait for it, or end it and take its place with {take_over=True}",
                )

    def _renew(
        self,
        lease: Lease,
        version: Version | None,
        ended: threading.Event,
        is_reached: threading.Event,
    ) -> None:
        """Renew the lease until it ends, or is another's.

        ``is_reached`` says whether the store answered the last time. If it did not, it may have
        renewed the lease all the same: so its version is read again.
        """
        client = self.clients.lease
        while not ended.wait(lease.seconds / _RENEWALS):
            lease = replace(lease, renewals=lease.renewals + 1)
            try:
                version = version or self._own_version(lease)
                if version is None:
                    return
                renewed = swap(client, self.name, lease.to_bytes(), version, self.place, retries=0)
            except StoreError:
                is_reached.clear()
                version = None
                continue
            is_reached.set()
            if renewed is None:
                return
            version = renewed

    def _own_version(self, lease: Lease) -> Version | None:
        """Return the version of the lease, None if it is another's."""
        found = read_version(self.clients.lease, self.name, self.place)
        held = Lease.parsed(found[0]) if found else None
        is_own = found is not None and held is not None and held.nonce == lease.nonce
        return found[1] if found and is_own else None

    def _release(self, lease: Lease) -> None:
        """End the lease, if it is still ours."""
        version = self._own_version(lease)
        if version is not None:
            ended = replace(lease, seconds=0.0).to_bytes()
            swap(self.clients.lease, self.name, ended, version, self.place, retries=0)
