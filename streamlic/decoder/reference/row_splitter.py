"""Splits a body's rows: those of an array in blocks if speculation succeeds, else one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from streamlic.decoder.envelope import EnvelopeReader
from streamlic.decoder.reference.record_buffer import Records
from streamlic.decoder.reference.record_regex import RecordPattern, record_pattern
from streamlic.decoder.reference.speculative_rows import ReadRows, SpeculativeSplitter
from streamlic.decoder.reference.window import Window
from streamlic.decoder.scanner import PathStep, mend_surrogates

if TYPE_CHECKING:
    from streamlic.decoder.body_rules import BodyRules
    from streamlic.decoder.options import DecoderOptions

_BLOCK_BYTES: Final = 1 << 17
_MIN_BLOCK_BYTES: Final = 1 << 10  # Below, setting ijson up costs more than it gains.


class RowSplitter(Window):
    """A window that splits rows, and counts them in the envelope.

    ``read`` makes rows of the records that are parsed while they are split. ``on_block`` is called
    after each block of a chunk, so that the caller takes the records and memory stays bounded.
    """

    def __init__(self, options: DecoderOptions, rules: BodyRules, read: ReadRows) -> None:
        super().__init__(options)
        self._rules = rules
        self._said = EnvelopeReader(options, rules)
        self.records = Records()
        self.on_block: Callable[[], None] | None = None
        self.envelope = self._said.envelope
        self._splitter = SpeculativeSplitter(read)
        self._has_escapes = False
        self._may_speculate = False  # Whether the next block is worth a try.

    def _move(self) -> None:
        super()._move()
        self._has_escapes = b"\\u" in self._buffer
        self._may_speculate = True

    def _split_rows(self) -> None:
        """Split all rows but the last, as long as they are usual: the loop where the time goes."""
        if self._open_brackets == self._options.max_depth:
            return
        while self._may_speculate:
            self._split_block()
            if self._may_speculate and self.on_block:
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
            if has_escapes and mend_surrogates(text) != text:
                break
            append(text, position + index, rows)
            rows += 1
            index = end + 1
        self.envelope.rows, self._index = rows, index

    def _split_block(self) -> None:
        """Split the rows of one block speculatively.

        If that fails, the block is split exactly, and so is the rest of a block that succeeds.
        """
        start, stop = self._index, self._index + _BLOCK_BYTES
        block = self._buffer[start:stop]
        self._may_speculate = False  # Until the block succeeds.
        if len(block) < _MIN_BLOCK_BYTES:
            return
        if self._has_escapes:
            block = mend_surrogates(block)
        levels = self._options.max_depth - self._open_brackets
        rows, texts = self._splitter.split(block, levels)
        limit = self._options.max_record_bytes
        if not rows or (len(block) > limit and max(map(len, texts)) > limit):
            return
        self._may_speculate = stop < len(self._buffer)
        size = self.records.size
        self.records.append_run(texts, rows, self._position + start, self.envelope.rows)
        self.envelope.rows += len(rows)
        self._index = start + self.records.size - size + len(rows)

    def _split_record(self, start: int, step: PathStep, *, since: int) -> None:
        """Append the record that begins at ``start``, and move the index after it."""
        self._append_record(start, self._record_end(start, step, since=since), step)

    def _record_end(self, start: int, step: PathStep, *, since: int) -> int:
        """Return where the record ends that begins at ``start``."""
        is_shallow = self._open_brackets < self._options.max_depth
        cut = self._pattern().match(self._buffer, start) if is_shallow else None
        # Only in valid records it is certain what is a key: check a record before mending it.
        is_cut = cut is not None and cut.end() - since <= self._options.max_record_bytes
        if cut and is_cut and not (self._has_escapes and mend_surrogates(cut[0]) != cut[0]):
            return cut.end()
        return self._value_end(start, step, since=since)

    def _append_record(self, start: int, end: int, step: PathStep) -> None:
        """Append the record from ``start`` to ``end``, and move the index after it."""
        text = self._buffer[start:end]
        mended = mend_surrogates(text) if self._has_escapes else text
        self.records.append(mended, self._position + start, step)
        self.envelope.rows += 1
        self._index = end

    def _pattern(self) -> RecordPattern:
        return record_pattern(self._options.max_depth - self._open_brackets - 1)
