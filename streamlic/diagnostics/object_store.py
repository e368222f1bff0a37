"""What a run needs of an object store and of the scratch directory: one check each, with advice.

Rules:
1. Each permission is tried on objects that are named after the doctor, and deleted again. Readers
   of a lake, and streamlic itself, do not see them.
2. Which kind of credentials the environment names is shown, never a value.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from streamlic.dataset.destination import refuse_foreign
from streamlic.diagnostics.check import Check, failed
from streamlic.diagnostics.credentials_kind import credentials_kind, endpoint_of
from streamlic.diagnostics.lake import check_lake
from streamlic.diagnostics.scratch import check_scratch
from streamlic.errors import StoreError, StreamlicError, UsageError
from streamlic.formatting import duration_text
from streamlic.job.options import JobOptions
from streamlic.storage.cloud_environment import check_environment
from streamlic.storage.dest_urls import DestUrl, parsed_url
from streamlic.storage.local import PROBE_PREFIX

if TYPE_CHECKING:
    from obstore.store import RetryConfig

    from streamlic.storage.object_store import ObjectStore

_TRIES = 2
_PATIENCE = timedelta(seconds=10)
"""How long a request is sent again. A run is more patient."""
_CLOCK_SECONDS = 20
_DATE_SECONDS = 2
"""A date has whole seconds, and takes a moment to arrive."""
_NOTABLE_SECONDS = 5 * 60
_FATAL_SECONDS = 15 * 60
"""How old a request's signature may be, for S3."""


def check_object_store(dest: str, options: JobOptions, *, is_online: bool) -> list[Check]:
    """Check the credentials, the bucket, the clock and the scratch directory for a URL."""
    try:
        url = parsed_url(dest)
    except UsageError as error:
        return [failed("dest", error, None, {"dest": dest})]
    checks = [_check_credentials(url)]
    if is_online and checks[0].state == "ok":
        checks += [check_bucket(dest, url, options), check_clock(endpoint_of(url))]
    return [*checks, check_scratch(options)]


def _check_credentials(url: DestUrl) -> Check:
    """Check what the environment says. Whether the store accepts it, ``check_bucket`` finds out."""
    facts = {"service": url.service}
    try:
        check_environment(url)
        if os.environ.get("AWS_PROFILE"):
            with suppress(ImportError):  # ``check_bucket`` names the missing extra.
                from streamlic.storage.credentials import connected  # noqa: PLC0415

                connected(url)
    except UsageError as error:
        return failed("credentials", error, None, facts)
    kind = credentials_kind(url.service)
    return Check(name="credentials", state="ok", found=kind, facts=facts)


def check_bucket(dest: str, url: DestUrl, options: JobOptions) -> Check:
    """Check that a lake there can be listed, written, read, copied and deleted, safely."""
    facts: dict[str, Any] = {"dest": dest, "endpoint": endpoint_of(url), "allowed": []}
    started = time.monotonic()
    try:
        options.open_store(dest)  # It names a missing extra.
        store = _impatient(url, options)
        with _allowed("list", facts):
            refuse_foreign(store)
        check_lake(store)
        _try_objects(store, facts)
        store.check_conditions()
    except StreamlicError as error:
        check = failed("dest", error, None, facts)
        allowed = ", ".join(facts["allowed"])
        return replace(check, found=f"{check.found} (allowed: {allowed})") if allowed else check
    facts |= {"conditions": True, "seconds": round(time.monotonic() - started, 3)}
    found = (
        f"{url} at {facts['endpoint']} allows to {', '.join(facts['allowed'])}, and keeps "
        f"conditions ({facts['seconds']:.1f} s)"
    )
    return Check(name="dest", state="ok", found=found, facts=facts)


def check_clock(endpoint: str) -> Check:
    """Compare this machine's clock with that of a store: a signature is valid for minutes."""
    facts: dict[str, Any] = {"endpoint": endpoint, "difference_seconds": None}
    sent = time.time()
    try:
        date = _date_of(endpoint)
    except (OSError, ValueError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        return Check(name="clock", state="warning", facts=facts,
                     found=f"{endpoint} did not say the time: {reason}",
                     advice="compare the clock yourself: a store refuses 15 minutes")  # fmt: skip
    difference = date - (sent + time.time()) / 2
    facts["difference_seconds"] = round(difference)
    if abs(difference) < _DATE_SECONDS:
        return Check(name="clock", state="ok", found=f"it agrees with {endpoint}", facts=facts)
    apart = f"{duration_text(abs(difference))} {'slow' if difference > 0 else 'fast'}"
    found = f"this machine's clock is {apart}, compared with {endpoint}"
    if abs(difference) >= _FATAL_SECONDS:
        return Check(name="clock", state="failed", found=found, facts=facts, exit_code=1,
                     advice="set the clock: the store refuses every request")  # fmt: skip
    if abs(difference) > _NOTABLE_SECONDS:
        return Check(name="clock", state="warning", found=found, facts=facts,
                     advice="set the clock: the store refuses 15 minutes")  # fmt: skip
    return Check(name="clock", state="ok", found=found, facts=facts)


def _impatient(url: DestUrl, options: JobOptions) -> ObjectStore:
    """Return the store, with few retries."""
    from streamlic.storage.object_store import ObjectStore  # noqa: PLC0415  (it loads obstore)

    upload_bytes = options.store_settings.upload_bytes
    retries: RetryConfig = {"max_retries": _TRIES, "retry_timeout": _PATIENCE}
    return ObjectStore(url, upload_bytes=upload_bytes, retries=retries)


def _try_objects(store: ObjectStore, facts: dict[str, Any]) -> None:
    """Create, read, copy and delete objects, and note what is allowed."""
    data = secrets.token_bytes(64)
    one, other = (f"{PROBE_PREFIX}{secrets.token_hex(8)}" for _ in range(2))
    try:
        with _allowed("write", facts):
            store.create(one, data)
        with _allowed("read", facts):
            if store.read(one) != data:
                raise StoreError(f"{store.where(one)}: the store returned other bytes than written")
        with _allowed("copy", facts):
            store.publish([(one, other)])
        with _allowed("delete", facts):
            store.delete(other)
    finally:
        with suppress(StoreError):
            store.delete(one, other)


@contextmanager
def _allowed(what: str, facts: dict[str, Any]) -> Iterator[None]:
    yield
    facts["allowed"].append(what)


class _NoRedirects(HTTPRedirectHandler):
    """Lets a redirect be the answer: the store's own clock is wanted."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""


def _date_of(endpoint: str) -> float:
    """Return the time of a server's answer, of whatever status, as seconds of Unix time."""
    request = Request(endpoint, method="HEAD")  # noqa: S310  (the URL that the run asks, too)
    try:
        with build_opener(_NoRedirects).open(request, timeout=_CLOCK_SECONDS) as answer:
            date = answer.headers["Date"]
    except HTTPError as error:
        date = error.headers["Date"]
        error.close()
    if date is None:
        raise ValueError("the answer has no date")
    return parsedate_to_datetime(date).timestamp()
