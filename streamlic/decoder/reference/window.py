"""The part of a body that is in memory, and how far it was read.

Rules:
1. Only whole characters are read. An ill-formed one ends the body, unless the JSON is invalid
   before it.
2. The window holds one chunk and the unfinished record or member before it, at most
   ``max_record_bytes``. It is scanned again only when it has doubled, so that time stays linear.
"""

from __future__ import annotations

import codecs
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from streamlic.decoder.failure_signs import Reported
from streamlic.decoder.messages.decode_errors import decode_error
from streamlic.decoder.messages.error_codes import ErrorCode
from streamlic.decoder.messages.findings import QUOTED_BYTES, with_finding
from streamlic.decoder.messages.paths import path_text
from streamlic.decoder.scanner import (
    Malformed,
    PathStep,
    TooDeep,
    TooLong,
    Unfinished,
    after_white_space,
    value_end,
)
from streamlic.errors import (
    DecodeError,
    TruncatedBody,
)

if TYPE_CHECKING:
    from streamlic.decoder.options import DecoderOptions


_PARTIAL_SURROGATE = re.compile(rb"\xed[\xa0-\xbf]")


def _sound_bytes(given: bytes) -> tuple[int, bool]:
    """Return how many bytes are whole characters, and whether the rest may become one."""
    if given.isascii():
        return len(given), True
    try:
        sound = codecs.utf_8_decode(given, "strict", False)[1]
    except UnicodeDecodeError as error:
        return error.start, False
    # Python waits for a third byte that could only complete a surrogate, which is not UTF-8.
    return sound, not _PARTIAL_SURROGATE.match(given, sound)


class Window(ABC):
    """Reads one body, chunk by chunk; subclasses define the steps.

    ``_next_step`` returns whether it made progress. If it returns False, it needs more of the body,
    and the index is at the first byte that it needs again.
    """

    _next_step: Callable[[], bool]

    def __init__(self, options: DecoderOptions) -> None:
        self._options = options
        self._buffer = b""
        self._index = 0
        self._position = 0  # of the buffer's first byte in the body
        self._open_brackets = 0
        self._path: tuple[PathStep, ...] = ()  # to the innermost of them
        self._path_in_progress: tuple[PathStep, ...] = ()
        self._at_end = False
        self._is_last = False  # No further bytes can change the verdict.
        self._partial = b""  # The first bytes of an unfinished character.
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._wanted_bytes = 0
        self._fed_bytes = 0

    @property
    def held_bytes(self) -> int:
        """The bytes that were fed but not yet read."""
        return len(self._buffer) - self._index + self._waiting_bytes

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        partial, self._partial = self._partial, b""
        given = partial + chunk if partial else chunk
        sound, is_utf8 = _sound_bytes(given)
        # Keep the first byte of an ill-formed sequence: outside a string it is also invalid JSON.
        text = given if sound == len(given) else given[: sound if is_utf8 else sound + 1]
        self._waiting.append(text)
        self._waiting_bytes += len(text)
        if not is_utf8:
            self._is_last = True
            self._advance()
            raise DecodeError(
                ErrorCode.UTF8.text(),
                position=self._fed_bytes - len(partial) + sound,
                path=path_text((*self._path, *self._path_in_progress)),
            )
        self._partial = given[sound:]
        self._fed_bytes += len(chunk)
        if self._waiting_bytes >= self._wanted_bytes:
            self._advance()

    def close(self) -> None:
        """Say that the body has ended; raise TruncatedBody unless it is complete."""
        self._at_end = self._is_last = True
        self._waiting.append(self._partial)
        self._advance()
        if not self._is_complete() or self._path_in_progress:
            raise TruncatedBody(
                ErrorCode.TRUNCATED.text(),
                position=self._fed_bytes,
                path=path_text((*self._path, *self._path_in_progress)),
            )

    def error(
        self, malformed: Malformed, text: bytes, position: int, path: tuple[PathStep, ...]
    ) -> DecodeError:
        """Return the public error; ``text`` began at ``position`` in the body, and at ``path``."""
        if isinstance(malformed, TooDeep):
            malformed.reason = ErrorCode.MAX_DEPTH.text(self._options.max_depth)
        elif not isinstance(malformed, TooLong | Reported):
            end = malformed.index + 1
            quoted = text[max(malformed.quoted_from, end - QUOTED_BYTES) : end]
            malformed.reason = with_finding(malformed.reason, quoted, ndjson=self._options.ndjson)
        return decode_error(malformed, position, path)

    @abstractmethod
    def _is_complete(self) -> bool:
        """Return whether the body may end at the index."""

    def _advance(self) -> None:
        self._move()
        try:
            while self._next_step():
                pass
        except Malformed as malformed:
            raise self.error(malformed, self._buffer, self._position, self._path) from None

    def _move(self) -> None:
        """Drop the bytes before the index, and append the bytes that were fed since."""
        self._position += self._index
        self._buffer = b"".join([self._buffer[self._index :], *self._waiting])
        self._waiting, self._waiting_bytes, self._wanted_bytes, self._index = [], 0, 0, 0
        self._path_in_progress = ()

    def _peek(self) -> int | None:
        self._index = after_white_space(self._buffer, self._index)
        return self._buffer[self._index] if self._index < len(self._buffer) else None

    def _may_be_byte_order_mark(self) -> bool:
        """Raise Malformed at a byte-order mark; return whether more bytes could make it one."""
        partial = self._buffer[self._index : self._index + 3]
        if partial == codecs.BOM_UTF8:
            raise Malformed(ErrorCode.BYTE_ORDER_MARK.text(), self._index)
        return codecs.BOM_UTF8.startswith(partial) and not self._is_last

    def _value_end(self, start: int, step: PathStep, *, since: int) -> int:
        """Return where the value ends; with its key it began at ``since``."""
        depth = self._options.max_depth - self._open_brackets
        try:
            end = value_end(self._buffer, start, depth=depth, at_end=self._at_end)
        except Malformed as malformed:
            malformed.path = (step, *malformed.path)
            malformed.quoted_from = start
            self._check_bytes(since, malformed.index)
            raise
        except Unfinished as unfinished:
            unfinished.path = (step, *unfinished.path)
            raise
        self._check_bytes(since, end - 1)
        return end

    def _unfinished(self, start: int, unfinished: Unfinished) -> bool:
        """Wait until the value that began at ``start`` has twice as many bytes."""
        self._check_bytes(start, len(self._buffer) - 1)
        held = len(self._buffer) - start
        self._wanted_bytes = min(held, self._options.max_record_bytes + 1 - held)
        self._path_in_progress = unfinished.path or self._path_in_progress
        self._index = start
        return False

    def _check_bytes(self, since: int, last: int) -> None:
        if last - since >= self._options.max_record_bytes:
            raise TooLong(
                ErrorCode.MAX_RECORD_BYTES.text(self._options.max_record_bytes),
                since + self._options.max_record_bytes,
            )
