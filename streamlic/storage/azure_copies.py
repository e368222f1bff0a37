"""Copies in Azure, which may be pending when the service answers.

Copy Blob may answer 202 with ``x-ms-copy-status: pending``, and obstore does not show that header.
The service creates the blob with a length of 0, gives it its content when the copy ends, and fails
the copy if the source is deleted before. So the length says when the source may go.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import obstore
from obstore.exceptions import BaseError

from streamlic.errors import StoreError
from streamlic.storage.base import NotFound
from streamlic.storage.cloud_errors import Place, translated
from streamlic.storage.credentials import Client

PATIENCE_SECONDS = 600.0
_FIRST_WAIT_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 5.0


def start_copy(client: Client, old: str, new: str, place: Place) -> None:
    """Ask for a copy, unless one to the same name is pending."""
    with translated("copy", place):
        try:
            obstore.copy(client, old, new)
        except BaseError as error:
            if "PendingCopyOperation" not in str(error):
                raise


def await_copy(size_of: Callable[[str], int], staged: str, final: str, place: Place) -> None:
    """Wait until a copy has the size of the original; StoreError if that does not come."""
    end = time.monotonic() + PATIENCE_SECONDS
    wait = _FIRST_WAIT_SECONDS
    while True:
        copied = size_of(final)
        try:
            expected = size_of(staged)
        except NotFound:
            return  # Another writer has seen the end of the copy, and deleted the original.
        if copied == expected:
            return
        if time.monotonic() > end:
            raise StoreError(
                f"{place.name}: the store has not finished copying it: expected {expected:,} "
                f"bytes, got {copied:,}",
                advice="give the same command again later",
            )
        time.sleep(wait)
        wait = min(wait * 2, _LONGEST_WAIT_SECONDS)
