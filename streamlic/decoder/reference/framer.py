"""Splits a body into records, and keeps the facts of its envelope.

Rules:
1. Chunk boundaries change neither the records nor the verdict.
2. The framer raises the first error in the body, except errors inside a record that is complete:
   the parser of the record finds those.
3. It holds the records that were not yet taken, and what a window holds.
"""

from __future__ import annotations

from collections.abc import Callable

from streamlic.decoder.body_rules import BodyRules
from streamlic.decoder.failure_signs import (
    NoListing,
    Report,
    Reported,
    is_envelope,
    may_be_envelope,
    shortened,
)
from streamlic.decoder.messages.error_codes import ErrorCode
from streamlic.decoder.options import DecoderOptions
from streamlic.decoder.reference.row_splitter import RowSplitter
from streamlic.decoder.reference.speculative_rows import ReadRows
from streamlic.decoder.scanner import (
    Malformed,
    PathStep,
    TooDeep,
    Unfinished,
    after_white_space,
    is_value,
    key_of,
    string_end,
    value_end,
)

_CURSORS = (("next_cursor",), ("prev_cursor",))


class Framer(RowSplitter):
    """Splits one body into records. Feed every chunk, take ``records`` after each, then close."""

    def __init__(self, options: DecoderOptions, rules: BodyRules, read: ReadRows = list) -> None:
        super().__init__(options, rules, read)
        self._rows_path = tuple(options.rows_at.split("."))
        self._is_enveloped = False
        self._has_rows = False
        self._rows_before = 0  # the envelope; always 0 unless the body is newline-delimited
        self._is_first_line = True
        self._rows_closer = 0
        self._report: Report | None = None  # of rows that are an object, in case they are a report
        self._next_step: Callable[[], bool] = self._line if options.ndjson else self._top

    def row_path(self, step: PathStep) -> tuple[PathStep, ...]:
        """Return the path to the record of this step."""
        in_envelope = self._rows_path if self._is_enveloped else ()
        return (*in_envelope, step)

    def _is_complete(self) -> bool:
        return self._next_step in (self._after_body, self._line)

    # The steps. Window documents what a step returns.

    def _top(self) -> bool:
        byte = self._peek()
        if byte is None:
            return False
        if byte == 0x5B:
            self._open_rows()
        elif byte == 0x7B:
            self._is_enveloped = True
            self._begin_envelope()
        elif self._may_be_byte_order_mark():
            return False
        else:
            raise NoListing(ErrorCode.TOP.text(), self._index)
        return True

    def _begin_envelope(self) -> None:
        self._said.begin()
        self._has_rows = False
        self._rows_before = self.envelope.rows
        self._open_envelope()

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
        path = (*self._rows_path[: len(self._path)], key)
        if path == self._rows_path and self._buffer[value:end] == b"null":
            self._has_rows = True
        is_cursor = path in _CURSORS  # It is taken whole, however long it is.
        text = self._buffer[value:end] if is_cursor else shortened(self._buffer, value, end)
        self._said.member(path, text, value)
        self._index = end
        self._next_step = self._after_member
        return True

    def _leads_to_rows(self, key: str, value: int) -> bool:
        """Enter the value if it is the rows, or is on the path to them."""
        if key != self._rows_path[len(self._path)]:
            return False
        byte = self._buffer[value]
        is_last = len(self._path) + 1 == len(self._rows_path)
        if is_last:
            self._check_rows(byte, value, key)
        if byte == 0x6E or (byte != 0x7B and not is_last):  # A null is an empty listing.
            return False
        if not self._path:
            self._said.key(key)
        if not self._options.ndjson:  # The rows of all lines are numbered as one list.
            self._path = (*self._path, key)
        self._index = value
        if is_last:
            self._open_rows()
        else:
            self._open_envelope()
        return True

    def _check_rows(self, byte: int, value: int, key: str) -> None:
        if byte not in b"{[n":
            raise Malformed(ErrorCode.ROWS.text(), value, (key,))
        if self._has_rows:
            raise Malformed(ErrorCode.SECOND_ROWS.text(), value, (key,))
        if byte == 0x7B and not self._rules.takes_keyed:
            code = ErrorCode.KEYED_ROWS
            raise Malformed(code.text(), value, (key,), parameter=code.parameter)

    def _after_member(self) -> bool:
        return self._separator(0x7D, self._end_envelope, self._member)

    def _end_envelope(self) -> bool:
        if self._open_brackets == 1:
            rows = self.envelope.rows - self._rows_before
            self._said.end(self._index, rows=rows, has_rows=self._has_rows)
        return self._close_bracket()

    def _open_rows(self) -> None:
        byte = self._buffer[self._index]
        self._has_rows = True
        self._rows_closer = byte + 2  # In ASCII each closing bracket is the opening one plus 2.
        self.envelope.is_keyed = byte == 0x7B
        is_watched = self.envelope.is_keyed and self._rules.has_reports
        self._report = Report(self._rules.columns, are_rows=True) if is_watched else None
        self._open_bracket()
        self._next_step = self._first_row

    def _first_row(self) -> bool:
        return self._end_rows() if self._peek() == self._rows_closer else self._row()

    def _row(self) -> bool:
        if self._peek() is None:
            return False
        start = self._index
        try:
            if self.envelope.is_keyed:
                key, value = self._key()
                self._split_record(value, key, since=start)
                self._note_keyed(key, self._buffer[value : self._index])
            else:
                self._split_rows()
                start = self._index
                self._split_record(start, self.envelope.rows, since=start)
        except Unfinished as unfinished:
            return self._unfinished(start, unfinished)
        self._next_step = self._after_row
        return True

    def _after_row(self) -> bool:
        return self._separator(self._rows_closer, self._end_rows, self._row)

    def _note_keyed(self, key: str, text: bytes) -> None:
        """Note a valid row that may be a member of a report in place of the rows."""
        if not self._report or not self._report.concerns(key):
            return
        if is_value(text, depth=self._options.max_depth):
            self._report.take(key, text, 0, len(text))

    def _end_rows(self) -> bool:
        members = self._report.failure() if self._report else None
        if members:
            raise Reported(members, self._index)
        return self._close_bracket()

    def _line(self) -> bool:
        byte = self._peek()
        if byte is None:
            return False
        start = self._index
        if self._may_be_byte_order_mark():
            return False
        is_object = byte == 0x7B and self._rules.has_envelope_lines
        try:
            if byte == 0x5B and self._is_first_line:
                self._check_no_array(start)
            if is_object and self._begins_with_rows(start):
                self._begin_envelope()
                return True
            end = self._record_end(start, self.envelope.rows, since=start)
        except Unfinished as unfinished:
            return self._unfinished(start, unfinished)
        if is_object and self._is_envelope(self._buffer[start:end]):
            self._begin_envelope()
            return True
        self._append_record(start, end, self.envelope.rows)
        self._next_step = self._after_line
        return True

    def _check_no_array(self, start: int) -> None:
        """Raise Malformed where the body seems to be one array of records."""
        if self._tokens_follow(start + 1, start, b"{") or self._tokens_follow(
            start + 1, start, b"]"
        ):
            raise Malformed(ErrorCode.ARRAY_OF_LINES.text(), start)

    def _begins_with_rows(self, start: int) -> bool:
        """Return whether the line is an envelope whose rows come first: it may be of any length."""
        return self._tokens_follow(start + 1, start, b'"result"', b":", b"[")

    def _tokens_follow(self, index: int, since: int, *tokens: bytes) -> bool:
        """Return whether these tokens follow; Unfinished if more bytes must decide."""
        for token in tokens:
            index = after_white_space(self._buffer, index)
            given = self._buffer[index : index + len(token)]
            if given != token:
                if token.startswith(given) and not self._is_last:
                    raise Unfinished
                return False
            index += len(token)
        self._check_bytes(since, index - 1)
        return True

    def _is_envelope(self, line: bytes) -> bool:
        """Return whether a complete line is an envelope; an invalid line is not."""
        if not may_be_envelope(line):
            return False
        try:
            value_end(line, 0, depth=self._options.max_depth, at_end=True)
        except Malformed:
            return False
        return is_envelope(line)

    def _after_line(self) -> bool:
        start = self._index
        byte = self._peek()
        if b"\n" in self._buffer[start : self._index] or (byte is None and self._at_end):
            self._is_first_line = False
            self._next_step = self._line
            return True
        if byte is not None:
            raise Malformed(ErrorCode.LINE_FEED.text(), self._index)
        return False

    def _after_body(self) -> bool:
        if self._peek() is not None:
            raise Malformed(ErrorCode.END.text(), self._index)
        return False

    # Parts of the steps.
    def _open_bracket(self) -> None:
        if self._open_brackets == self._options.max_depth:
            raise TooDeep(ErrorCode.MAX_DEPTH.text(self._options.max_depth), self._index)
        self._open_brackets += 1
        self._index += 1

    def _close_bracket(self) -> bool:
        self._open_brackets -= 1
        self._index += 1
        self._path = self._path[:-1]
        after = self._after_line if self._options.ndjson else self._after_body
        self._next_step = self._after_member if self._open_brackets else after
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
            raise Malformed(ErrorCode.COMMA_OR_END.text(chr(closer)), self._index)
        self._index += 1
        self._next_step = at_comma
        return True

    def _key(self) -> tuple[str, int]:
        """Return the key at the index, and where its value begins; both count as one with it."""
        start = self._index
        if self._buffer[start] != 0x22:
            raise Malformed(ErrorCode.KEY.text(), start)
        try:
            end = string_end(self._buffer, start)
            key = key_of(self._buffer[start:end])
            colon = after_white_space(self._buffer, end)
            if colon < len(self._buffer) and self._buffer[colon] != 0x3A:
                raise Malformed(ErrorCode.COLON.text(), colon, (key,))
        except Malformed as malformed:
            self._check_bytes(start, malformed.index)
            raise
        value = after_white_space(self._buffer, colon + 1)
        if value >= len(self._buffer):
            raise Unfinished((key,))
        self._check_bytes(start, value)
        return key, value
