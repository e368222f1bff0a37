"""Describes what came instead of what was expected, for the message of a DecodeError.

Rules:
1. Only the bytes up to the wrong one are read: the next bytes may not have arrived, and chunk
   boundaries must not change a message.
2. A quote begins with the value that contains the byte. It has at most 40 characters, no control
   characters, and nothing that looks like a secret.
"""

from __future__ import annotations

import re
from typing import Final

from streamlic.decoder.messages.error_codes import ErrorCode

QUOTED_BYTES: Final = 4096
"""The bytes before the wrong one that are read, enough to find where a secret begins."""
_QUOTED_CHARACTERS = 40
_BEGINNINGS = {
    0x1F: "with which gzip begins",
    0xFE: "with which UTF-16 begins",
    0xFF: "with which UTF-16 and UTF-32 begin",
    ord("<"): "with which HTML and XML begin",
    ord(")"): "with which the prefix )]}' begins",
    **dict.fromkeys(b"dei:", "with which a server-sent event may begin (data:, event:)"),
}
_ANYWHERE = {
    0x00: "as UTF-16 and UTF-32 have",
    ord("N"): "with which NaN begins, no JSON",
    ord("I"): "with which Infinity begins, no JSON",
}
_SECRETS = (
    re.compile(
        r'(?i)("[^"]*(?:token|secret|passw|pwd|authorization|api[_-]?key|credential|cookie|private)'
        r'[^"]*"\s*:\s*)(?:"(?:[^"\\]|\\.)*+"?|[^",}\]\s]+)'
    ),
    re.compile(r"(?i)((?:bearer|basic)\s+)[^\s\"]+"),
    re.compile(r"()(?![a-z_-]+(?![A-Za-z0-9+/_=.-]))[A-Za-z0-9+/_=.-]{21,}"),
)


def with_finding(reason: str, quoted: bytes, *, ndjson: bool) -> str:
    """Return the reason with what came; ``quoted`` ends with the wrong byte.

    A reason that already names what came, or that is not about JSON, is not changed.
    """
    if not reason.startswith("expected ") or ", got " in reason or not quoted:
        return reason
    byte = quoted[-1]
    shown = chr(byte) if 0x20 < byte < 0x7F else f"byte 0x{byte:02X}"
    is_beginning = reason == ErrorCode.TOP.text() or (ndjson and len(quoted) == 1)
    meaning = (_BEGINNINGS.get(byte) if is_beginning else None) or _ANYWHERE.get(byte)
    found = f"{reason}, got {shown}{f', {meaning}' if meaning else ''}"
    quote = _quote(quoted) if len(quoted) > 1 else ""
    return f"{found}, in {quote}" if quote else found


def _quote(quoted: bytes) -> str:
    text = quoted.decode(errors="ignore")
    text = "".join(one if one.isprintable() else " " for one in text)
    for secret in _SECRETS:
        text = secret.sub(r"\1***", text)
    text = text.strip()
    return text if len(text) <= _QUOTED_CHARACTERS else "..." + text[3 - _QUOTED_CHARACTERS :]
