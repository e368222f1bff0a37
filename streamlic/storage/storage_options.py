"""How another library reaches the place of a DEST, as deltalake takes it."""

from __future__ import annotations

from streamlic.storage.dest_urls import is_url, parsed_url


def storage_options_of(where: str) -> dict[str, str] | None:
    """Return what reaches a URL, by the names of environment variables; None for a local path.

    It holds secrets: no log, no record and no error may show it. The credentials of a profile are
    valid for a while only, so ask again for each use.
    """
    if not is_url(where):
        return None
    from streamlic.storage.credentials import storage_options  # noqa: PLC0415  (loads obstore)

    return storage_options(parsed_url(where))
