"""Finds the text of members in the bytes of valid records.

If the parsed record has a key, and the bytes of the key occur once in its text, that is where the
member is. Otherwise the text is scanned exactly.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import repeat
from typing import Any

from streamlic.decoder.reference.brackets import brackets_of, is_one_unit
from streamlic.decoder.scanner import PathStep, children, element_span, plain_value_end

_COLON = re.compile(rb"[ \t\n\r]*+:[ \t\n\r]*+")
_WHITE_SPACE = b" \t\n\r"
_KEY_CHARACTERS = 64  # Patterns are cached up to this length.


def member_texts(name: str, texts: Sequence[bytes], values: Sequence[Any]) -> list[bytes | None]:
    """Return the text of each record's member ``name``, None where it is null or has none.

    ``values`` are None where a text holds null, or nothing. Of a repeated key the last one counts.
    """
    found: list[bytes | None] = [None] * len(texts)
    holders = [at for at, value in enumerate(values) if value is not None]
    if not holders:
        return found
    lone = lone_texts(name, [texts[at] for at in holders])
    for at, text in zip(holders, lone or repeat(None), strict=False):
        found[at] = _exactly(name, texts[at]) if text is None else text
    return found


def lone_texts(key: str, texts: Sequence[bytes]) -> list[bytes] | None:
    """Return the text of each record's member ``key``, wherever in the record it is; all have one.

    None unless the key certainly occurs once in each.
    """
    whole = b"\0".join(texts)
    pieces = whole.split(b'"%b"' % key.encode())
    tails = [piece.partition(b"\0")[0] for piece in pieces[1:]]
    occurs_once = len(tails) == len(texts) and all(tail[:1] == b":" for tail in tails)
    if not occurs_once or _may_be_escaped(key, whole, 0, len(whole)):
        return None
    return _first_values([tail[1:-1] for tail in tails])


def _first_values(texts: list[bytes]) -> list[bytes]:
    """Return the value with which each text begins; most often it is all there is.

    Each text is the part of a valid object after a colon.
    """
    bracket_texts = brackets_of(b"\0".join(texts)).split(b"\0")
    units = {brackets for brackets in set(bracket_texts) if is_one_unit(brackets)}
    stripped = [text.strip(_WHITE_SPACE) for text in texts]
    return [
        text
        if brackets in units and text[0] in b"{[" and text[-1] in b"}]"
        else text[: plain_value_end(text, 0)]
        for text, brackets in zip(stripped, bracket_texts, strict=True)
    ]


def _may_be_escaped(key: str, text: bytes, start: int, end: int) -> bool:
    """Return whether an escaped key between might be the same key."""
    is_common = len(key) <= _KEY_CHARACTERS and "\\" not in key
    return not is_common or bool(_escaped_key(len(key)).search(text, start, end))


@lru_cache
def _escaped_key(characters: int) -> re.Pattern[bytes]:
    """Match the end of a key of this many characters that is written with escapes.

    Of the short escapes only that of the slash is optional.
    """
    return re.compile(rb'\\[u/][^"]{0,%d}+"[ \t\n\r]*+:' % (6 * characters))


def _exactly(name: str, text: bytes) -> bytes:
    found = b""
    for key, start, end in children(text, 0):
        if key == name:
            found = text[start:end]
    return found


def member_span(text: bytes, step: PathStep, start: int, end: int) -> tuple[int, int] | None:
    """Return where the member or element lies in the container from ``start`` to ``end``.

    The container has it. None where only exact reading finds it.
    """
    if isinstance(step, int):
        return element_span(text, step, start)
    if b"\\" in text and _may_be_escaped(step, text, start, end):
        return None
    key = b'"%b"' % step.encode()
    at = text.find(key, start, end)
    if at == -1 or text.find(key, at + 1, end) != -1:
        return None
    value = _COLON.match(text, at + len(key)).end()  # type: ignore[union-attr]  # It follows a key.
    return value, plain_value_end(text, value)
