"""Numbers that ijson cannot hold: finds them, and reads records with all their digits."""

from __future__ import annotations

import json
from decimal import Decimal, DecimalException
from typing import Final

from streamlic.schema.values import HugeNumber

MANY_DIGITS: Final = 300
"""Numbers with this many digits in a row are kept from ijson."""

_DIGIT = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
_SAMPLED_BYTES: Final = 30


def has_many_digits(text: bytes) -> bool:
    """Return whether a number may have so many digits that ijson would end the process."""
    sampled = text[::_SAMPLED_BYTES].translate(_DIGIT)
    return b"0" * (
        MANY_DIGITS // _SAMPLED_BYTES
    ) in sampled and b"0" * MANY_DIGITS in text.translate(_DIGIT)


def _number(text: str) -> int | Decimal | HugeNumber:
    if len(text) > MANY_DIGITS:
        return HugeNumber(text)
    if text.lstrip("-").isdigit():
        return int(text)
    try:
        return Decimal(text)
    except DecimalException:
        return HugeNumber(text)


read_exactly = json.JSONDecoder(parse_int=_number, parse_float=_number).decode
"""Reads a valid record with all the digits of its numbers."""
