"""Redacts a secret in the text of an error that quotes a body.

Rules:
1. JSON may write any character of the secret as an escape.
2. A quote may be cut in the middle of the secret: pieces of it are hidden, too.
3. Fewer than four characters are not hidden: they occur in any text.
"""

from __future__ import annotations

import re
from itertools import groupby

from streamlic.errors import DecodeError

_PIECE_CHARACTERS = 5
_LEAST_CHARACTERS = 4
_UNIT = re.compile(r'\\u00([0-9a-fA-F]{2})|\\(["\\/])|(.)', re.DOTALL)


def without(text: str, secret: str) -> str:
    """Return a quoted text with the secret and its pieces replaced by asterisks."""
    size = min(len(secret), _PIECE_CHARACTERS)
    if size < _LEAST_CHARACTERS:
        return text
    units = list(_UNIT.finditer(text))
    plain = "".join([chr(int(unit[1], 16)) if unit[1] else unit[2] or unit[3] for unit in units])
    pieces = {secret[at : at + size] for at in range(len(secret) - size + 1)}
    is_secret = [False] * len(plain)
    for at in range(len(plain) - size + 1):
        if plain[at : at + size] in pieces:
            is_secret[at : at + size] = [True] * size
    runs = groupby(zip(units, is_secret, strict=True), key=lambda one: one[1])
    return "".join(["***" if hides else "".join(unit[0] for unit, _ in run) for hides, run in runs])


def hide_in(error: BaseException, secret: str) -> None:
    """Redact the secret in a DecodeError and in the error that it replaced."""
    raised: BaseException | None = error
    while raised:
        if isinstance(raised, DecodeError):
            raised.args = tuple(without(str(one), secret) for one in raised.args)
            raised.reason = without(raised.reason, secret)
            raised.path = without(raised.path, secret)
        raised = raised.__cause__ or raised.__context__
