"""Members of valid records, found again in the records' own bytes.

A key that the parsed record has, and whose bytes stand once in its text, stands there: the parser
has proved it. Where that says too little, the text is read exactly.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from streamlic.decoder.skeleton import is_one_unit, skeleton
from streamlic.decoder.strict import children, plain_value_end

_ESCAPED_KEY = re.compile(rb'\\u[^"]*+"[ \t\n\r]*+:')
_WHITE_SPACE = b" \t\n\r"


def member_texts(name: str, texts: Sequence[bytes], rows: Sequence[Any]) -> list[bytes | None]:
    """Return the text of each record's member ``name``, None where it has none.

    ``rows`` are what the texts hold. Of a repeated key the last one counts.
    """
    found: list[bytes | None] = [None] * len(texts)
    quoted = b'"%b"' % name.encode()
    key = quoted + b":"
    numbers = []
    tails = []
    for number, row in enumerate(rows):
        if type(row) is dict and name in row:
            text = texts[number]
            tail = text.partition(key)[2]
            if not tail or text.count(quoted) != 1 or _may_escape_keys(text):
                found[number] = _exactly(name, text)
            else:
                numbers.append(number)
                tails.append(tail)
    for number, tail, bare in zip(numbers, tails, _skeletons(tails), strict=True):
        found[number] = _first_value(tail, bare)
    return found


def _may_escape_keys(text: bytes) -> bool:
    return b"\\u" in text and _ESCAPED_KEY.search(text) is not None


def _skeletons(texts: list[bytes]) -> list[bytes]:
    return skeleton(b"\0".join(texts)).split(b"\0") if texts else []


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
