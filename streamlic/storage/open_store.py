"""The store of a DEST: a directory on this machine, or part of a bucket."""

from __future__ import annotations

from dataclasses import dataclass

from streamlic.errors import UsageError
from streamlic.formatting import how_to_install
from streamlic.storage.base import Store
from streamlic.storage.cloud_environment import check_listens
from streamlic.storage.dest_paths import is_file_name, refuse_file_name
from streamlic.storage.dest_urls import is_url, parsed_url
from streamlic.storage.local import LocalStore

MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """How a store far away is used. A local directory needs none of it."""

    scratch: str | None = None
    """Where part files are written before they are uploaded; None is the system's own place."""
    upload_bytes: int = 32 * MIB
    """How much memory an upload may take."""
    takes_over: bool = False
    """Whether to take the lease of another writer without waiting for it to end."""


def open_store(dest: str, settings: StoreSettings | None = None) -> Store:
    """Return the store of ``dest``; UsageError if there can be none, or an extra is missing.

    Raises StoreError if nothing listens where a variable says that the store is.
    """
    if not is_url(dest):
        return LocalStore(dest)
    url = parsed_url(dest)
    settings = settings or StoreSettings()
    try:
        from streamlic.storage.object_store import ObjectStore  # noqa: PLC0415  (loads obstore)
    except ImportError as error:
        raise UsageError(
            f"{url} needs the extra cloud: {how_to_install('cloud')}", parameter="dest"
        ) from error
    store = ObjectStore(
        url,
        scratch=settings.scratch,
        upload_bytes=settings.upload_bytes,
        takes_over=settings.takes_over,
    )
    check_listens(url.service)
    if is_file_name(dest) and not store.names():
        refuse_file_name(dest)
    return store
