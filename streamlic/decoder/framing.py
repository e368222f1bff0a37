"""A body cut into records: bytes in, records out, the envelope's facts kept aside.

Rules:
1. Where the body is cut into chunks changes neither the records nor the verdict.
2. The error raised is the first one in the body, but for what is wrong inside a record that does
   end: that is found by who parses the record.
3. Held are the records not yet taken, one chunk, and one unfinished record or other member, which
   is bounded by ``max_record_bytes`` and read again only when it has doubled: time stays linear.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Final

from streamlic.decoder.envelope import Envelope
from streamlic.decoder.options import DEFAULT_ROWS_AT, DecoderOptions
from streamlic.decoder.ordinary import ReadRows, RowCutter
from streamlic.decoder.patterns import RecordPattern, record_pattern
from streamlic.decoder.records import Records
from streamlic.decoder.strict import (
    Malformed,
    PathStep,
    TooDeep,
    TooLong,
    Unfinished,
    after_white_space,
    mend_surrogates,
    path_text,
    string_end,
    text_of,
    value_end,
)
from streamlic.errors import DecodeError, LimitExceeded, TruncatedBody

_BLOCK_BYTES: Final = 1 << 17
_MIN_BLOCK_BYTES: Final = 1 << 10  # Below, setting ijson up costs more than it gains.


def _sound_bytes(given: bytes) -> tuple[int, bool]:
    """Return how many bytes are whole characters, and whether what follows may become one."""
    if given.isascii():
        return len(given), True
    try:
        return codecs.utf_8_decode(given, "strict", False)[1], True
    except UnicodeDecodeError as error:
        return error.start, False


class Framer:
    """Cuts one body into records. Feed every chunk, take ``records`` after each, then close.

    ``read`` makes the rows of records that are parsed already when they are cut.
    ``on_block`` is called within a chunk, when they should be taken before there are more.
    """

    def __init__(self, options: DecoderOptions, read: ReadRows = list) -> None:
        self.records = Records()
        self.on_block: Callable[[], None] | None = None
        self.envelope = Envelope()
        self._options = options
        self._cutter = RowCutter(read)
        self._rows_path = tuple(options.rows_at.split("."))
        self._begun = b""  # A character's first bytes, of which nothing can be said as yet.
        self._buffer = b""
        self._has_escapes = False
        self._may_be_ordinary = False  # The rows of the buffer, as far as is known.
        self._index = 0
        self._position = 0  # of the buffer's first byte in the body
        self._fed_bytes = 0
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._wanted_bytes = 0
        self._at_end = False
        self._is_last = False  # Nothing follows the buffer that is worth waiting for.
        self._open_brackets = 0
        self._path: tuple[PathStep, ...] = ()  # to the innermost of them
        self._path_in_progress: tuple[PathStep, ...] = ()
        self._is_enveloped = False
        self._has_rows = False
        self._rows_closer = 0
        self._next_step: Callable[[], bool] = self._line if options.is_lines else self._top

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        begun, self._begun = self._begun, b""
        given = begun + chunk if begun else chunk
        sound, is_utf8 = _sound_bytes(given)
        # Of an ill-formed sequence the first byte alone: outside a string it is wrong as JSON, too.
        text = given if sound == len(given) else given[: sound if is_utf8 else sound + 1]
        self._waiting.append(text)
        self._waiting_bytes += len(text)
        if not is_utf8:
            self._is_last = True
            self._advance()
            raise DecodeError(
                "expected UTF-8, got bytes that are none",
                position=self._fed_bytes - len(begun) + sound,
                path=path_text((*self._path, *self._path_in_progress)),
            )
        self._begun = given[sound:]
        self._fed_bytes += len(chunk)
        if self._waiting_bytes >= self._wanted_bytes:
            self._advance()

    def close(self) -> None:
        """Say that the body has ended; raise TruncatedBody unless it is complete."""
        self._at_end = self._is_last = True
        self._waiting.append(self._begun)
        self._advance()
        if self._next_step not in (self._after_body, self._line) or self._path_in_progress:
            raise TruncatedBody(
                "the body ended before its JSON was complete",
                position=self._fed_bytes,
                path=path_text((*self._path, *self._path_in_progress)),
            )

    def error(self, malformed: Malformed, position: int, path: tuple[PathStep, ...]) -> DecodeError:
        """Say where in the body it is: its buffer began at ``position``, its path at ``path``."""
        place = {"position": position + malformed.index, "path": path_text(path + malformed.path)}
        kind = LimitExceeded if isinstance(malformed, TooDeep | TooLong) else DecodeError
        reason = malformed.reason
        if isinstance(malformed, TooDeep):
            reason = f"expected at most {self._options.max_depth} open brackets (max_depth)"
        return kind(reason, **place)  # type: ignore[arg-type]

    def row_path(self, step: PathStep) -> tuple[PathStep, ...]:
        """Return the path to the record of this step."""
        in_envelope = self._rows_path if self._is_enveloped else ()
        return (*in_envelope, step)

    def _advance(self) -> None:
        self._position += self._index
        self._buffer = b"".join([self._buffer[self._index :], *self._waiting])
        self._waiting, self._waiting_bytes, self._wanted_bytes, self._index = [], 0, 0, 0
        self._path_in_progress = ()
        self._has_escapes = b"\\u" in self._buffer
        self._may_be_ordinary = True
        try:
            while self._next_step():
                pass
        except Malformed as malformed:
            raise self.error(malformed, self._position, self._path) from None

    # Each step returns whether it made progress. One that did not needs more of the body, and has
    # left the index at the first byte that it needs again.

    def _top(self) -> bool:
        byte = self._peek()
        if byte is None:
            return False
        if byte == 0x5B:
            self._open_rows()
        elif byte == 0x7B:
            self._is_enveloped = True
            self._open_envelope()
        elif self._may_be_byte_order_mark():
            return False
        else:
            raise Malformed("expected an object or an array", self._index)
        return True

    def _open_envelope(self) -> None:
        self._open_bracket()
        self._next_step = self._first_member

    def _first_member(self) -> bool:
        return self._end_envelope() if self._peek() == 0x7D else self._member()

    def _member(self) -> bool:
        if self._peek() is None:
            return False
        start = self._index
        try:
            key, value = self._key()
            if self._leads_to_rows(key, value):
                return True
            end = self._value_end(value, key, since=start)
        except Unfinished as unfinished:
            return self._unfinished(start, unfinished)
        if self._open_brackets == 1:
            is_trutos = self._options.rows_at == DEFAULT_ROWS_AT
            self.envelope.note(key, self._buffer[value:end], value, is_trutos=is_trutos)
        self._index = end
        self._next_step = self._after_member
        return True

    def _leads_to_rows(self, key: str, value: int) -> bool:
        """Step into the value if it holds the rows, or is on the path to them."""
        if key != self._rows_path[len(self._path)]:
            return False
        byte = self._buffer[value]
        is_last = len(self._path) + 1 == len(self._rows_path)
        if is_last and byte not in b"{[":
            raise Malformed("expected an array or an object of rows", value, (key,))
        if is_last and self._has_rows:
            raise Malformed("expected the rows once, got them a second time", value, (key,))
        if byte != 0x7B and not is_last:
            return False
        if not self._path:
            self.envelope.note_key(key)
        self._path = (*self._path, key)
        self._index = value
        if is_last:
            self._open_rows()
        else:
            self._open_envelope()
        return True

    def _after_member(self) -> bool:
        return self._separator(0x7D, self._end_envelope, self._member)

    def _end_envelope(self) -> bool:
        if self._open_brackets == 1 and not self._has_rows:
            keys = ", ".join(self.envelope.keys) or "none"
            raise Malformed(
                f"expected rows at {self._options.rows_at}, got an envelope with the keys: {keys}; "
                "--rows-at names the path to the rows, --lines reads newline-delimited records,",
                self._index,
            )
        return self._close_bracket()

    def _open_rows(self) -> None:
        byte = self._buffer[self._index]
        self._has_rows = True
        self._rows_closer = byte + 2  # In ASCII both closing brackets stand two behind.
        self.envelope.is_keyed = byte == 0x7B
        self._open_bracket()
        self._next_step = self._first_row

    def _first_row(self) -> bool:
        return self._close_bracket() if self._peek() == self._rows_closer else self._row()

    def _row(self) -> bool:
        if self._peek() is None:
            return False
        start = self._index
        try:
            if self.envelope.is_keyed:
                key, value = self._key()
                self._cut(value, key, since=start)
            else:
                self._cut_ordinary_rows()
                start = self._index
                self._cut(start, self.envelope.rows, since=start)
        except Unfinished as unfinished:
            return self._unfinished(start, unfinished)
        self._next_step = self._after_row
        return True

    def _cut_ordinary_rows(self) -> None:
        """Cut rows as long as all is usual, but for the last: the loop where the time goes."""
        if self._open_brackets == self._options.max_depth:
            return
        while self._may_be_ordinary:
            self._take_block()
            if self._may_be_ordinary and self.on_block:
                self.on_block()
        buffer, index, rows = self._buffer, self._index, self.envelope.rows
        append, has_escapes = self.records.append, self._has_escapes
        position, limit = self._position, self._options.max_record_bytes
        match = self._pattern().row_match
        while row := match(buffer, index):
            end = row.end() - 1
            if end - index > limit:
                break
            text = buffer[index:end]
            if has_escapes:
                text = mend_surrogates(text)
            append(text, position + index, rows)
            rows += 1
            index = end + 1
        self.envelope.rows, self._index = rows, index

    def _take_block(self) -> None:
        """Take the rows of one block, if they are ordinary, as ijson reads them.

        What is left of a block, or a block that is not ordinary, is cut exactly, to its end.
        """
        start, stop = self._index, self._index + _BLOCK_BYTES
        block = self._buffer[start:stop]
        self._may_be_ordinary = False  # Unless all goes well.
        if len(block) < _MIN_BLOCK_BYTES:
            return
        if self._has_escapes:
            block = mend_surrogates(block)
        levels = self._options.max_depth - self._open_brackets
        rows, texts = self._cutter.cut(block, levels)
        limit = self._options.max_record_bytes
        if not rows or (len(block) > limit and max(map(len, texts)) > limit):
            return
        self._may_be_ordinary = stop < len(self._buffer)
        size = self.records.size
        self.records.append_run(texts, rows, self._position + start, self.envelope.rows)
        self.envelope.rows += len(rows)
        self._index = start + self.records.size - size + len(rows)

    def _after_row(self) -> bool:
        return self._separator(self._rows_closer, self._close_bracket, self._row)

    def _line(self) -> bool:
        if self._peek() is None:
            return False
        start = self._index
        if self._may_be_byte_order_mark():
            return False
        try:
            self._cut(start, self.envelope.rows, since=start)
        except Unfinished as unfinished:
            return self._unfinished(start, unfinished)
        self._next_step = self._after_line
        return True

    def _after_line(self) -> bool:
        start = self._index
        byte = self._peek()
        if b"\n" in self._buffer[start : self._index] or (byte is None and self._at_end):
            self._next_step = self._line
            return True
        if byte is not None:
            raise Malformed("expected a line feed after the record", self._index)
        return False

    def _after_body(self) -> bool:
        if self._peek() is not None:
            raise Malformed("expected nothing after the end of the JSON", self._index)
        return False

    # What the steps are made of.

    def _peek(self) -> int | None:
        self._index = after_white_space(self._buffer, self._index)
        return self._buffer[self._index] if self._index < len(self._buffer) else None

    def _may_be_byte_order_mark(self) -> bool:
        """Raise Malformed at a byte-order mark; return whether more bytes could make it one."""
        begun = self._buffer[self._index : self._index + 3]
        if begun == codecs.BOM_UTF8:
            raise Malformed("expected JSON, got a byte-order mark", self._index)
        return codecs.BOM_UTF8.startswith(begun) and not self._is_last

    def _open_bracket(self) -> None:
        if self._open_brackets == self._options.max_depth:
            raise TooDeep("too many open brackets", self._index)
        self._open_brackets += 1
        self._index += 1

    def _close_bracket(self) -> bool:
        self._open_brackets -= 1
        self._index += 1
        self._path = self._path[:-1]
        self._next_step = self._after_member if self._open_brackets else self._after_body
        return True

    def _separator(
        self, closer: int, at_closer: Callable[[], bool], at_comma: Callable[[], bool]
    ) -> bool:
        byte = self._peek()
        if byte is None:
            return False
        if byte == closer:
            return at_closer()
        if byte != 0x2C:
            raise Malformed(f"expected , or {chr(closer)}", self._index)
        self._index += 1
        self._next_step = at_comma
        return True

    def _key(self) -> tuple[str, int]:
        """Return the key at the index, and where its value begins; both count as one with it."""
        start = self._index
        if self._buffer[start] != 0x22:
            raise Malformed("expected a key in double quotes", start)
        try:
            end = string_end(self._buffer, start)
            key = text_of(mend_surrogates(self._buffer[start:end]))
            colon = after_white_space(self._buffer, end)
            if colon < len(self._buffer) and self._buffer[colon] != 0x3A:
                raise Malformed("expected : after the key", colon, (key,))
        except Malformed as malformed:
            self._check_bytes(start, malformed.index)
            raise
        value = after_white_space(self._buffer, colon + 1)
        if value >= len(self._buffer):
            raise Unfinished((key,))
        self._check_bytes(start, value)
        return key, value

    def _cut(self, start: int, step: PathStep, *, since: int) -> None:
        """Append the record that begins at ``start``, and go behind it."""
        is_shallow = self._open_brackets < self._options.max_depth
        cut = self._pattern().match(self._buffer, start) if is_shallow else None
        if cut and cut.end() - since <= self._options.max_record_bytes:
            end = cut.end()
        else:
            end = self._value_end(start, step, since=since)
        text = self._mended(start, end)
        self.records.append(text, self._position + start, step)
        self.envelope.rows += 1
        self._index = end

    def _pattern(self) -> RecordPattern:
        return record_pattern(self._options.max_depth - self._open_brackets - 1)

    def _mended(self, start: int, end: int) -> bytes:
        text = self._buffer[start:end]
        return mend_surrogates(text) if self._has_escapes else text

    def _value_end(self, start: int, step: PathStep, *, since: int) -> int:
        """Return where the value ends that began, with its key, at ``since``."""
        depth = self._options.max_depth - self._open_brackets
        try:
            end = value_end(self._buffer, start, depth=depth, at_end=self._at_end)
        except Malformed as malformed:
            malformed.path = (step, *malformed.path)
            self._check_bytes(since, malformed.index)
            raise
        except Unfinished as unfinished:
            unfinished.path = (step, *unfinished.path)
            raise
        self._check_bytes(since, end - 1)
        return end

    def _unfinished(self, start: int, unfinished: Unfinished) -> bool:
        """Wait for as many bytes again as there are of what began at ``start``."""
        self._check_bytes(start, len(self._buffer) - 1)
        held = len(self._buffer) - start
        self._wanted_bytes = min(held, self._options.max_record_bytes + 1 - held)
        self._path_in_progress = unfinished.path or self._path_in_progress
        self._index = start
        return False

    def _check_bytes(self, since: int, last: int) -> None:
        if last - since >= self._options.max_record_bytes:
            raise TooLong(
                f"expected at most {self._options.max_record_bytes} bytes in one value "
                "(max_record_bytes)",
                since + self._options.max_record_bytes,
            )
