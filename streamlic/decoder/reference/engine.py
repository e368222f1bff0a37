"""The reference engine, on ijson: byte chunks in, record batches out.

Rules:
1. No I/O and no asyncio: the caller owns the socket, this module owns the bytes.
2. Chunk boundaries never change the result.
3. An invalid body raises DecodeError for the first error in it, whatever ijson raises.
4. The engine holds at most one unfinished batch, the records of one chunk, and a partial record.
5. ijson's verdict counts, except where its C engine is known to be wrong: it accepts form feeds as
   white space, turns unpaired surrogates into ``?``, cannot represent every exponent, and ends the
   process at an integer of more than 4,300 digits. Such input never reaches it, or is read again.
"""

from __future__ import annotations

import gc
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import DecimalException
from io import BytesIO
from typing import Any, Final

import pyarrow as pa
from ijson.backends import yajl2_c
from ijson.common import JSONError

from streamlic.decoder.body_rules import BodyRules
from streamlic.decoder.envelope import Envelope
from streamlic.decoder.failure_signs import Reported, is_surely_data, may_be_report, report_of
from streamlic.decoder.messages.decode_errors import decode_error
from streamlic.decoder.options import DecoderOptions
from streamlic.decoder.reference.columns import RecordColumns, Row
from streamlic.decoder.reference.exact_numbers import has_many_digits, read_exactly
from streamlic.decoder.reference.framer import Framer
from streamlic.decoder.reference.keyed_rows import KeyedRows, KeyFill
from streamlic.decoder.reference.member_text import member_texts
from streamlic.decoder.reference.record_buffer import UNREAD, Records
from streamlic.decoder.reference.rescue import kept_whole, rescued_texts
from streamlic.decoder.reference.scalar_columns import Place, Source
from streamlic.decoder.reference.speculative_rows import parsed
from streamlic.decoder.reference.strict import StrictMode
from streamlic.decoder.scanner import Malformed, PathStep, is_value, value_end, without_strings
from streamlic.errors import DecodeError, UsageError
from streamlic.schema.columns import JSON_RECORD, JSON_RESCUED, JSON_VALUE, json_role

_BLOCK_ROWS: Final = 768
_BLOCK_BYTES: Final = 262_144
_PIECE_BYTES: Final = 65_536


class ReferenceDecoder:
    """Decode one body into record batches of ``schema``.

    Feed every chunk, then close once. After a DecodeError the decoder is spent, and none of the
    page's batches may be committed.
    """

    engine: Final = "reference"

    def __init__(self, schema: pa.Schema, options: DecoderOptions) -> None:
        self._schema = schema
        self._options = options
        roles = {field.name: json_role(field) for field in schema}
        self._json_columns = tuple(name for name in roles if roles[name] == JSON_VALUE)
        self._rescued_column = next((n for n in roles if roles[n] == JSON_RESCUED), None)
        self._is_whole_record = JSON_RECORD in roles.values()
        self._columns = RecordColumns(schema)
        self._rules = BodyRules.of(schema, options)
        read = list if self._is_whole_record else self._columns.read
        self._framer = Framer(options, self._rules, read)
        self._keyed = KeyedRows(schema, options.key_by) if options.key_by else None
        self._strict = (
            StrictMode(schema, options, self._framer, may_hold=self._rules.has_reports)
            if options.strict
            else None
        )
        self._block = Records()
        self._filled: list[pa.RecordBatch] = []
        self._blocks: list[list[pa.Array]] = []
        self._batch_rows = 0
        self._batch_bytes = 0
        self._is_spent = False

    @property
    def envelope(self) -> Envelope:
        """The envelope; complete once the decoder is closed."""
        return self._framer.envelope

    @property
    def held_bytes(self) -> int:
        """The bytes that were fed but not yet read."""
        return self._framer.held_bytes

    def feed(self, chunk: bytes) -> list[pa.RecordBatch]:
        """Take the next bytes; return the batches they filled, often none."""
        return self._advance(chunk)

    def close(self) -> list[pa.RecordBatch]:
        """End the body; return the last batches. Raises TruncatedBody if the body is incomplete."""
        batches = self._advance(None)
        self._is_spent = True
        return batches

    def _advance(self, chunk: bytes | None) -> list[pa.RecordBatch]:
        if self._is_spent:
            raise UsageError("this decoder is spent: it was closed, or its body was bad")
        self._is_spent = True  # Until it succeeds.
        try:
            with _without_collector():
                batches = self._decoded(chunk)
        except DecodeError as error:
            raise self._strict.first_of(error) if self._strict else error from None
        if self._strict and chunk is None:
            self._strict.check_end()
        self._is_spent = False
        return batches

    def _decoded(self, chunk: bytes | None) -> list[pa.RecordBatch]:
        self._framer.on_block = self._drain
        try:
            if chunk is None:
                self._framer.close()
            else:
                self._framer.feed(chunk)
        except DecodeError:
            self._drain(is_last=True)  # An error inside an earlier record comes first.
            raise
        finally:  # Without a cycle the decoder is freed at once, without the collector.
            self._framer.on_block = None
        self._drain(is_last=chunk is None)
        batches, self._filled = self._filled, []
        return batches

    def _drain(self, *, is_last: bool = False) -> None:
        """Take the framer's records, and add them to batches."""
        self._filled += self._batches(is_last=is_last)

    def _batches(self, *, is_last: bool) -> Iterator[pa.RecordBatch]:
        records, self._block = self._block, Records()
        records.extend(self._framer.records)
        self._framer.records = Records()
        taken = taken_bytes = 0
        while True:
            rows = self._options.batch_rows - self._batch_rows
            size = self._options.batch_bytes - self._batch_bytes
            if len(records) - taken < rows and records.size - taken_bytes < size:
                break
            ends = records.ends()
            full = min(taken + rows, bisect_left(ends, taken_bytes + size, taken) + 1)
            self._split_block(records.between(taken, full))
            taken, taken_bytes = full, ends[full - 1]
            yield self._take_batch()
        left = records.between(taken, len(records)) if taken else records
        if left and (is_last or len(left) >= _BLOCK_ROWS or left.size >= _BLOCK_BYTES):
            self._split_block(left)
        else:
            self._block = left
        if is_last and self._batch_rows:
            yield self._take_batch()

    def _take_batch(self) -> pa.RecordBatch:
        blocks, self._blocks, self._batch_rows, self._batch_bytes = self._blocks, [], 0, 0
        columns = [pa.concat_arrays(column) for column in zip(*blocks, strict=True)]
        return pa.record_batch(columns, schema=self._schema)

    def _split_block(self, records: Records) -> None:
        """Turn records into arrays: few at a time, so that they stay in the caches."""
        self._blocks.append(self._arrays(records))
        self._batch_rows += len(records)
        self._batch_bytes += records.size

    def _arrays(self, records: Records) -> list[pa.Array]:
        report = self._first_report(records) if self._rules.has_reports else None
        if report is None:
            return self._valid_arrays(records)
        number, reported = report
        if number:
            self._valid_arrays(
                records.between(0, number)
            )  # An error in an earlier record comes first.
        position, step = records.place(number)
        raise decode_error(reported, position, self._framer.row_path(step))

    def _first_report(self, records: Records) -> tuple[int, Reported] | None:
        """Return the first record that reports a failure. Invalid JSON reports nothing."""
        columns = self._rules.columns
        if not may_be_report(b"\n".join(records.texts), columns):
            return None
        for number, text in enumerate(records.texts):
            if not may_be_report(text, columns) or is_surely_data(text, columns):
                continue
            if self._is_valid(text) and (members := report_of(text, columns)):
                return number, Reported(members, 0)
        return None

    def _is_valid(self, text: bytes) -> bool:
        return is_value(text, depth=self._options.max_depth)

    def _valid_arrays(self, records: Records) -> list[pa.Array]:
        if self._is_whole_record:
            self._check_all(records)
            return [self._whole_column(field, records) for field in self._schema]
        rows, has_huge = self._parse(records)
        fill = self._filled_in(rows, records)
        columns, places = self._columns.build(
            fill.rows, _source(records, self._options.max_rescued, has_huge=has_huge)
        )
        for name in self._json_columns:
            texts = member_texts(name, records.texts, columns[name])
            columns[name] = pa.array([text and text.decode() for text in texts], pa.string())
        if self._rescued_column is not None:
            columns[self._rescued_column] = self._rescue(records, places, fill)
        return [columns[name] for name in self._schema.names]

    def _filled_in(self, rows: list[Row], records: Records) -> KeyFill:
        if self._keyed:
            return self._keyed.fill(rows, records)
        return KeyFill(rows, {}, {})

    def _whole_column(self, field: pa.Field, records: Records) -> pa.Array:
        if json_role(field) == JSON_RECORD:
            return pa.array(map(_json_or_null, records.texts), pa.string())
        steps = [records.place(number)[1] for number in range(len(records))]
        return pa.array([one if isinstance(one, str) else None for one in steps], pa.string())

    def _parse(self, records: Records) -> tuple[list[Row], bool]:
        """Return the records' rows, and whether a HugeNumber may be in them.

        JSON columns are parsed too, which checks them.
        """
        rows = records.rows
        unread = [number for number, row in enumerate(rows) if row is UNREAD]
        if unread:
            try:
                texts = [records.texts[number] for number in unread]
                read = self._columns.read(parsed(_lines(texts)))
            except (JSONError, ValueError, DecimalException):
                return self._parse_one_by_one(records), True
            for number, row in zip(unread, read, strict=True):
                rows[number] = row
        return rows, False

    def _parse_one_by_one(self, records: Records) -> list[Row]:
        """Find the invalid record. If there is none, a number is too much for ijson: avoid it."""
        rows: list[Row] = []
        for number, text in enumerate(records.texts):
            try:
                self._check(records, number)
            except DecodeError:
                if self._strict:  # A rescue in an earlier record comes first.
                    earlier = records.between(0, number)
                    fill = self._filled_in(rows, earlier)
                    _, places = self._columns.build(
                        fill.rows, _source(earlier, self._options.max_rescued, has_huge=True)
                    )
                    self._rescue(earlier, places, fill)
                raise
            rows += self._columns.read([read_exactly(text.decode())])
        return rows

    def _check_all(self, records: Records) -> None:
        pairs = zip(records.texts, records.rows, strict=True)
        unread = [text for text, row in pairs if row is UNREAD]
        if not unread:
            return
        try:
            lines = _lines(unread)
            # Small pieces bound the memory of events. ijson rereads a string that spans many
            # pieces from its start with each of them, so long strings are emptied first.
            if max(map(len, unread)) > _PIECE_BYTES:
                lines = without_strings(lines)
            events = yajl2_c.basic_parse(
                BytesIO(lines), multiple_values=True, buf_size=_PIECE_BYTES
            )
            deque(events, maxlen=0)
        except (JSONError, ValueError, DecimalException):
            for number in range(len(records)):
                self._check(records, number)

    def _check(self, records: Records, number: int) -> None:
        text = records.texts[number]
        try:
            value_end(text, 0, depth=self._options.max_depth, at_end=True)
        except Malformed as malformed:
            position, step = records.place(number)
            path = self._framer.row_path(step)
            malformed.quoted_from = 0
            raise self._framer.error(malformed, text, position, path) from None

    def _rescue(self, records: Records, places: list[Place], fill: KeyFill) -> Any:
        by_row: dict[int, list[tuple[PathStep, ...]]] = {}
        for number, path in places:
            by_row.setdefault(number, []).append(path)
        most = self._options.max_rescued
        kept = {number: kept_whole(paths, most) for number, paths in by_row.items()}
        if self._strict:
            self._strict.check(records, kept, fill)
        self.envelope.rescued += sum(map(len, kept.values())) + len(fill.unplaced_keys)
        texts = rescued_texts(records.texts, kept)
        if self._keyed:
            self._keyed.rescued(texts, fill, records)
        return pa.array(texts, pa.string())


def _lines(texts: list[bytes]) -> bytes:
    """Return the records, one a line; ValueError if ijson might not hold a number."""
    whole = b"\n".join(texts)
    if has_many_digits(whole):
        raise ValueError("a number of many digits")
    return whole


@contextmanager
def _without_collector() -> Iterator[None]:
    """Disable the cyclic collector: it would scan every row, and no row has a cycle."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _source(records: Records, most: int, *, has_huge: bool) -> Source:
    return Source(
        lambda number: read_exactly(records.texts[number].decode()), has_huge=has_huge, most=most
    )


def _json_or_null(text: bytes) -> str | None:
    return None if text == b"null" else text.decode()
