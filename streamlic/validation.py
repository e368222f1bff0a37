"""Checks of what a caller gives, before it is used. Pure."""

from __future__ import annotations

from streamlic.errors import UsageError


def check_text(text: str, parameter: str) -> None:
    """Raise UsageError for text with unpaired surrogates, which no URL can hold.

    Python decodes the bytes of an argument that are not UTF-8 to such surrogates.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"expected valid Unicode, got {shown(text)}", parameter=parameter
        ) from error


def shown(value: object) -> str:
    """Return a value in quotes, shortened to fit a message."""
    text = value if isinstance(value, str) else repr(value)
    text = text if len(text) <= 80 else text[:77] + "..."
    return repr(text) if isinstance(value, str) else text
