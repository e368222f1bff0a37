"""Strict mode: the first value that does not fit is an error.

Rules:
1. The error is raised before any later one in the body.
2. A member of keyed rows that is not an object may belong to an error report in place of the rows.
   Its error is held until the body ends. A report that follows is raised instead, and so is a
   truncation: the rest of the report may be missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from streamlic.decoder.messages.error_codes import ErrorCode
from streamlic.decoder.messages.misfits import why
from streamlic.decoder.messages.paths import path_text
from streamlic.decoder.options import DecoderOptions
from streamlic.decoder.reference.framer import Framer
from streamlic.decoder.reference.keyed_rows import KeyFill
from streamlic.decoder.reference.record_buffer import Records
from streamlic.decoder.reference.rescue import locate
from streamlic.decoder.scanner import PathStep
from streamlic.errors import DecodeError, ReportedFailure, RescueError, TruncatedBody

Misfits = Mapping[int, Sequence[tuple[PathStep, ...]]]
"""The paths of the values that do not fit, by the number of their record."""


class StrictMode:
    """Raises the error of the first misfit, or holds it."""

    def __init__(
        self, schema: pa.Schema, options: DecoderOptions, framer: Framer, *, may_hold: bool
    ) -> None:
        self._schema = schema
        self._options = options
        self._framer = framer
        self._may_hold = may_hold
        self._held: RescueError | None = None

    def check(self, records: Records, misfits: Misfits, fill: KeyFill) -> None:
        """Raise RescueError for the first misfit of these records, or hold it."""
        if self._held or not (misfits or fill.unplaced_keys):
            return
        first = min([*misfits, *fill.unplaced_keys])
        error = self._error_of(records, first, misfits.get(first) or (), fill)
        if not (self._may_hold and first in fill.members):
            raise error
        self._held = error

    def check_end(self) -> None:
        """Raise the error that is held: the body has ended without a report."""
        if self._held:
            raise self._held

    def first_of(self, error: DecodeError) -> DecodeError:
        """Return the error to raise: this one, or the one that is held."""
        comes_first = isinstance(error, ReportedFailure | TruncatedBody)
        return error if comes_first or not self._held else self._held

    def _error_of(
        self, records: Records, number: int, paths: Sequence[tuple[PathStep, ...]], fill: KeyFill
    ) -> RescueError:
        position, step = records.place(number)
        row_path = self._framer.row_path(step)
        if number in fill.unplaced_keys:
            reason = ErrorCode.ROW_KEY.text(self._options.key_by)
            return RescueError(
                reason, position=position, path=path_text(row_path), parameter="strict"
            )
        text = records.texts[number]
        first = locate(text, paths)[0]
        return RescueError(
            why(self._schema, text, first, self._options.max_rescued),
            position=position + first.start,
            path=path_text((*row_path, *first.path)),
            parameter="strict",
        )
