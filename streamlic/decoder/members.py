"""Members of valid records, found again in the records' own bytes.

A key that the parsed record has, and whose bytes stand once in its text, stands there: the parser
has proved it. Where that says too little, the text is read exactly.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from streamlic.decoder.skeleton import is_one_unit, skeleton
from streamlic.decoder.strict import PathStep, children, plain_value_end

_ESCAPED_KEY = re.compile(rb'\\u[^"]*+"[ \t\n\r]*+:')
_COLON = re.compile(rb"[ \t\n\r]*+:[ \t\n\r]*+")
_WHITE_SPACE = b" \t\n\r"


def member_texts(name: str, texts: Sequence[bytes], rows: Sequence[Any]) -> list[bytes | None]:
    """Return the text of each record's member ``name``, None where it has none.

    ``rows`` are what the texts hold. Of a repeated key the last one counts.
    """
    found: list[bytes | None] = [None] * len(texts)
    quoted = b'"%b"' % name.encode()
    holders = [at for at, row in enumerate(rows) if type(row) is dict and name in row]
    whole = b"\0".join([texts[at] for at in holders])
    pieces = whole.split(quoted + b":")
    stands_once = len(pieces) - 1 == len(holders) == whole.count(quoted)
    if not holders or not stands_once or _ESCAPED_KEY.search(whole):
        for at in holders:
            found[at] = _exactly(name, texts[at])
        return found
    tails = [piece.partition(b"\0")[0] for piece in pieces[1:]]
    bare = skeleton(b"\0".join(tails)).split(b"\0")
    for at, value in zip(holders, map(_first_value, tails, bare), strict=True):
        found[at] = value
    return found


def _first_value(tail: bytes, bare: bytes) -> bytes:
    """Return the value with which the end of a record begins; ``bare`` is the end's skeleton."""
    value = tail[:-1].strip(_WHITE_SPACE)
    if value[0] in b"{[":
        is_last = value[-1] in b"}]" and is_one_unit(bare[:-1])
    else:
        is_last = bare == b"}" and b"," not in value
    return value if is_last else value[: plain_value_end(value, 0)]


def _exactly(name: str, text: bytes) -> bytes:
    found = b""
    for key, start, end in children(text, 0):
        if key == name:
            found = text[start:end]
    return found


def member_span(text: bytes, step: PathStep, start: int, end: int) -> tuple[int, int] | None:
    """Return where the value of a member lies in the container from ``start`` to ``end``.

    The container has that member. None where only exact reading finds it.
    """
    if type(step) is int or b"\\" in text:
        return None
    key = b'"%b"' % step.encode()  # type: ignore[union-attr]
    at = text.find(key, start, end)
    if at == -1 or text.find(key, at + 1, end) != -1:
        return None
    value = _COLON.match(text, at + len(key)).end()  # type: ignore[union-attr]  # It follows a key.
    return value, plain_value_end(text, value)
