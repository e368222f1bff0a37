"""A strict scanner of one JSON value (RFC 8259) over bytes in memory: where it ends, or goes wrong.

Rules:
1. It decides position and path of every error: the first byte that no valid JSON text can
   have there.
2. It does not recurse, and keeps only the current path.
3. It accepts bytes of 128 and more inside strings; UTF-8 is checked elsewhere.
4. White space is space, tab, line feed and carriage return, not form feed or byte-order mark.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from streamlic.decoder.messages.error_codes import ErrorCode

PathStep = str | int
"""An object's key or an array's index."""

WHITE_SPACE: Final = re.compile(rb"[ \t\n\r]*+")
STRING: Final = rb'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"'

_STRING = re.compile(STRING)
_PARTIAL_STRING = re.compile(STRING[:-1])
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*+)(\.[0-9]++)?([eE][+-]?[0-9]++)?")
_ANY_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_GAP = rb'[^\[\]{}"]*+'
_NESTED = _ANY_STRING
for _ in range(6):
    _NESTED = _ANY_STRING + rb"|[\[{]" + _GAP + rb"(?:(?:" + _NESTED + rb")" + _GAP + rb")*+[\]}]"
_PLAIN_VALUE = re.compile(rb"[-+.0-9A-Za-z]++|" + _NESTED)
"""A value a few levels deep, in a text that is known to be valid."""
_PLAIN_KEY = re.compile(rb'"([^"\\]*+)"[ \t\n\r]*+:[ \t\n\r]*+')
_SEPARATOR = re.compile(rb"[ \t\n\r]*+,?[ \t\n\r]*+")
_HEX = b"0123456789abcdefABCDEF"
_MEMBERS = re.compile(
    rb"(?:"
    + STRING
    + rb"[ \t\n\r]*+:[ \t\n\r]*+(?:"
    + STRING
    + rb"|-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?|true|false|null)"
    + rb"[ \t\n\r]*+,[ \t\n\r]*+)*+"
)
"""Members whose values are scalars, and the comma after each of them."""
_LITERALS = {ord("t"): b"true", ord("f"): b"false", ord("n"): b"null"}
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_MAY_BE_UNPAIRED = re.compile(
    rb"\\(?:u[dD][89abAB]..(?!\\u[dD][c-fC-F])"
    rb"|u[dD][c-fC-F](?<!\\u[dD][89abAB]..\\u[dD].)"
    rb"|\\u[dD][89a-fA-F])",  # After an escaped backslash the text of a pair may not be one.
    re.DOTALL,
)

_ANY_STRING_OR_KEY = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"([ \t\n\r]*+:)?', re.DOTALL)

_VALUE, _VALUE_OR_END, _KEY, _KEY_OR_END, _COLON, _COMMA_OR_END = range(6)
_OPENS = {0x7B: _KEY_OR_END, 0x5B: _VALUE_OR_END}
_CLOSES = {0x7D: _KEY_OR_END, 0x5D: _VALUE_OR_END}
_EXPECTED = {
    _VALUE: ErrorCode.VALUE.text(),
    _VALUE_OR_END: ErrorCode.VALUE_OR_END.text(),
    _KEY: ErrorCode.KEY.text(),
    _KEY_OR_END: ErrorCode.KEY_OR_END.text(),
    _COLON: ErrorCode.COLON.text(),
}


class Malformed(Exception):
    """The text is not valid JSON: what was expected, the index in the buffer, and the path.

    ``parameter`` and ``advice`` say what helps, as those of a StreamlicError do.
    """

    parameter: str | None = None
    advice = ""

    def __init__(
        self,
        reason: str,
        index: int,
        path: tuple[PathStep, ...] = (),
        *,
        parameter: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        if parameter is not None:
            self.parameter = parameter
        self.index = index
        self.path = path
        self.quoted_from = index
        """Where the value with the error begins, if that is known."""


class TooDeep(Malformed):
    """More brackets are open than allowed."""

    parameter = ErrorCode.MAX_DEPTH.parameter


class TooLong(Malformed):
    """A value, or an object's member, takes more bytes than allowed."""

    parameter = ErrorCode.MAX_RECORD_BYTES.parameter
    advice = ErrorCode.MAX_RECORD_BYTES.advice


class Unfinished(Exception):
    """The buffer ends inside a value that is valid so far; ``path`` leads to the end."""

    def __init__(self, path: tuple[PathStep, ...] = ()) -> None:
        super().__init__("unfinished")
        self.path = path


def value_end(buffer: bytes, index: int, *, depth: int, at_end: bool = False) -> int:
    """Return the index after the value that begins at ``index`` (no white space before it).

    At most ``depth`` brackets may be open at once. ``at_end``: nothing follows the buffer, so that
    a number may end with it. Raises Malformed, TooDeep or Unfinished; the path leads to the
    unfinished value, or to the container if the scan is between two values.
    """
    path: list[PathStep] = []
    closers: list[int] = []
    expected = _VALUE
    try:
        while True:
            if closers:
                index = after_white_space(buffer, index)
            if index == len(buffer):
                raise Unfinished
            byte = buffer[index]
            if expected == _COMMA_OR_END:
                if byte == 0x2C:
                    expected = _KEY if closers[-1] == 0x7D else _VALUE
                    if expected == _VALUE:
                        path[-1] += 1  # type: ignore[operator]
                elif byte == closers[-1]:
                    closers.pop()
                    path.pop()
                else:
                    raise Malformed(ErrorCode.COMMA_OR_END.text(chr(closers[-1])), index)
                index += 1
            elif expected == _COLON:
                if byte != 0x3A:
                    raise Malformed(_EXPECTED[_COLON], index)
                expected = _VALUE
                index += 1
            elif byte in _CLOSES and _CLOSES[byte] == expected:
                closers.pop()
                path.pop()
                expected = _COMMA_OR_END
                index += 1
            elif expected in (_KEY, _KEY_OR_END):
                skipped = _MEMBERS.match(buffer, index).end()  # type: ignore[union-attr]
                if skipped > index:
                    index, expected = skipped, _KEY
                    continue
                if byte != 0x22:
                    raise Malformed(_EXPECTED[expected], index)
                start, index = index, string_end(buffer, index)
                path[-1] = key_of(buffer[start:index])
                expected = _COLON
            elif byte in _OPENS:
                if len(closers) == depth:
                    raise TooDeep(ErrorCode.MAX_DEPTH.text(depth), index)
                closers.append(byte + 2)  # In ASCII each closing bracket is the opening one plus 2.
                path.append("" if byte == 0x7B else 0)
                expected = _OPENS[byte]
                index += 1
            else:
                index = _scalar_end(buffer, index, _EXPECTED[expected])
                is_number = byte not in b'"tfn'
                if is_number and index == len(buffer) and not (at_end and not closers):
                    raise Unfinished
                expected = _COMMA_OR_END
            if not closers and expected == _COMMA_OR_END:
                return index
    except (Malformed, Unfinished) as stop:
        in_value = expected in (_VALUE, _VALUE_OR_END, _COLON)
        stop.path = tuple(path if in_value else path[:-1])
        raise


def is_value(text: bytes, *, depth: int) -> bool:
    """Return whether a text that seems to be one value is valid."""
    try:
        return value_end(text, 0, depth=depth, at_end=True) == len(text)
    except (Malformed, Unfinished):
        return False


def _scalar_end(buffer: bytes, index: int, expected: str) -> int:
    byte = buffer[index]
    if byte == 0x22:
        return string_end(buffer, index)
    if byte == 0x2D or 0x30 <= byte <= 0x39:
        return _number_end(buffer, index)
    if byte not in _LITERALS:
        raise Malformed(expected, index)
    literal = _LITERALS[byte]
    given = buffer[index : index + len(literal)]
    if given == literal:
        return index + len(literal)
    for offset, one in enumerate(given):
        if one != literal[offset]:
            raise Malformed(ErrorCode.LITERAL.text(literal.decode()), index + offset)
    raise Unfinished


def after_white_space(buffer: bytes, index: int) -> int:
    """Return the index of the first byte from ``index`` on that is not white space."""
    return WHITE_SPACE.match(buffer, index).end()  # type: ignore[union-attr]  # It always matches.


def string_end(buffer: bytes, index: int) -> int:
    """Return the index after the string that begins at ``index``."""
    match = _STRING.match(buffer, index)
    if match:
        return match.end()
    stop = _PARTIAL_STRING.match(buffer, index).end()  # type: ignore[union-attr]
    if stop == len(buffer):
        raise Unfinished
    if buffer[stop] != 0x5C:
        raise Malformed(ErrorCode.CONTROL_CHARACTER.text(), stop)
    for offset, one in enumerate(buffer[stop + 1 : stop + 6]):
        if offset == 0 and one not in b'"\\/bfnrtu':
            raise Malformed(ErrorCode.ESCAPE.text(), stop + 1)
        if offset and one not in _HEX:
            raise Malformed(ErrorCode.HEX_DIGITS.text(), stop + 1 + offset)
    raise Unfinished


def without_strings(text: bytes) -> bytes:
    """Return the text with empty strings; it is valid JSON if, and only if, the original is."""
    return _STRING.sub(b'""', text)


def _number_end(buffer: bytes, index: int) -> int:
    match = _NUMBER.match(buffer, index)
    if match is None:  # A minus sign without a digit.
        return _digit_missing(buffer, index + 1)
    end = match.end()
    following = buffer[end : end + 1]
    if following == b"." and not match[1] and not match[2]:
        return _digit_missing(buffer, end + 1)
    if following in (b"e", b"E") and not match[2]:
        signed = buffer[end + 1 : end + 2] in (b"+", b"-")
        return _digit_missing(buffer, end + 1 + signed)
    return end


def _digit_missing(buffer: bytes, index: int) -> int:
    if index >= len(buffer):
        raise Unfinished
    raise Malformed(ErrorCode.DIGIT.text(), index)


def children(buffer: bytes, index: int) -> Iterator[tuple[PathStep, int, int]]:
    """Yield (key or index, start, end) of each child of the valid container at ``index``.

    In document order, repeated keys included. A scalar has no children.
    """
    is_object = buffer[index] == 0x7B
    if not is_object and buffer[index] != 0x5B:
        return
    index = after_white_space(buffer, index + 1)
    place = 0
    while buffer[index] not in b"}]":
        step: PathStep = place
        if is_object:
            key = _PLAIN_KEY.match(buffer, index)
            if key:
                step, start = key[1].decode(), key.end()
            else:
                start, index = index, string_end(buffer, index)
                step = text_of(buffer[start:index])
                start = after_white_space(buffer, buffer.index(b":", index) + 1)
        else:
            start = index
        end = plain_value_end(buffer, start)
        yield step, start, end
        place += 1
        index = _SEPARATOR.match(buffer, end).end()  # type: ignore[union-attr]  # It always matches.


def element_span(buffer: bytes, number: int, start: int) -> tuple[int, int]:
    """Return where an existing element is in the valid array that begins at ``start``."""
    index = after_white_space(buffer, start + 1)
    for _ in range(number):
        end = plain_value_end(buffer, index)
        index = _SEPARATOR.match(buffer, end).end()  # type: ignore[union-attr]  # It always matches.
    return index, plain_value_end(buffer, index)


def plain_value_end(buffer: bytes, start: int) -> int:
    """Return the index after the value that begins at ``start`` in a valid text."""
    plain = _PLAIN_VALUE.match(buffer, start)
    return plain.end() if plain else value_end(buffer, start, depth=len(buffer), at_end=True)


def text_of(token: bytes) -> str:
    """Return the text that a valid JSON string token denotes, unpaired surrogates as U+FFFD."""
    if b"\\" not in token:
        return token[1:-1].decode()
    text: str = json.loads(_ESCAPE.sub(_replaced, token))
    return text


def key_of(token: bytes) -> str:
    r"""Return the key that a valid JSON string token denotes, unpaired surrogates as ``\d800``."""
    return text_of(_ESCAPE.sub(_kept, token)) if b"\\" in token else token[1:-1].decode()


def mend_surrogates(text: bytes) -> bytes:
    r"""Replace each unpaired surrogate escape by ``\ufffd``, in a key by ``\\d800`` and the like.

    So keys that differ stay different. The length stays the same. The text is valid, or a part of
    a valid one that begins outside of a string.
    """
    return _ANY_STRING_OR_KEY.sub(_mended, text) if _MAY_BE_UNPAIRED.search(text) else text


def _mended(string: re.Match[bytes]) -> bytes:
    return _ESCAPE.sub(_kept if string[1] else _replaced, string[0])


def _replaced(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if escape[1] else escape[0]


def _kept(escape: re.Match[bytes]) -> bytes:
    return b"\\\\" + escape[1][1:].lower() if escape[1] else escape[0]
