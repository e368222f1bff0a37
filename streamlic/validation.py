"""Checks of what a caller gives, before anything is done with it. Pure."""

from __future__ import annotations

from streamlic.errors import UsageError


def check_text(text: str, option: str) -> None:
    """Raise UsageError, naming ``option``, for text with unpaired surrogates: no URL can hold it.

    Python makes them of the bytes of an argument that are no UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"expected valid Unicode, got {shown(text)} ({option})") from error


def shown(value: object) -> str:
    """Quote what came, cut to a length that fits a message."""
    text = value if isinstance(value, str) else repr(value)
    text = text if len(text) <= 80 else text[:77] + "..."
    return repr(text) if isinstance(value, str) else text
