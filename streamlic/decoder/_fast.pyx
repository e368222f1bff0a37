# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False
"""The Python interface of the compiled engine: options in, record batches and errors out.

``_fast.pxd`` declares what it uses of the core.
"""

import re
from functools import lru_cache

from libc.stdint cimport uintptr_t
from libcpp.utility cimport move

import pyarrow as pa

from streamlic.decoder.envelope import EnvelopeReader
from streamlic.decoder.messages.error_codes import ErrorCode
from streamlic.decoder.messages.findings import with_finding
from streamlic.decoder.messages.misfits import Rescued, why
from streamlic.decoder.body_rules import BodyRules
from streamlic.decoder.failure_signs import Reported, report_of
from streamlic.decoder.scanner import Malformed
from streamlic.decoder.messages.paths import path_text
from streamlic.decoder.messages.decode_errors import decode_error
from streamlic.errors import (
    DecodeError,
    LimitExceeded,
    NotAListing,
    ReportedFailure,
    RescueError,
    TruncatedBody,
    UsageError,
)
from streamlic.schema.values import TIMESTAMP
from streamlic.schema.columns import JSON_RECORD, JSON_RESCUED, JSON_VALUE, ExactSchema, check_schema, json_role

ERROR_CODES = (
    None,  # no error
    None,  # a misfit: `why` writes the message
    *[
        ErrorCode[re.sub(r"(?<!^)(?=[A-Z])", "_", kErrorCodeNames[i].decode()).upper()]
        for i in range(kErrorCodes)
    ],
)
"""The core's error codes, in the core's order."""

_ERRORS = {
    ErrorCode.TOP: NotAListing,
    ErrorCode.TRUNCATED: TruncatedBody,
    ErrorCode.MAX_DEPTH: LimitExceeded,
    ErrorCode.MAX_RECORD_BYTES: LimitExceeded,
    ErrorCode.BATCH_TEXT: LimitExceeded,
    ErrorCode.ROW_KEY: RescueError,
}

SIMD = ("scalar", "sse2", "avx2", "neon")
"""The instruction sets. The best available one replaces one that is not available."""


def best():
    """Return the best instruction set that this build and this processor have."""
    return SIMD[<int>best_instruction_set()]


cdef class FastDecoder:
    """Decode one body into record batches of ``schema``.

    Feed every chunk, then close once. After a DecodeError the decoder is spent, and so is its
    page: none of its batches may be committed.
    """

    cdef object __weakref__
    cdef unique_ptr[Decoder] _decoder
    cdef object _schema
    cdef object _options
    cdef object _said  # the envelope
    cdef object _columns  # the fields that data has
    cdef cbool _is_enveloped
    cdef cbool _is_spent
    cdef cbool _is_at_work  # It runs without the GIL: other threads must not use it.

    def __cinit__(self, schema, options, *, simd=None):
        cdef _Prepared prepared = _prepared(ExactSchema(schema))
        cdef Options given
        cdef InstructionSet level = best_instruction_set() if simd is None else <InstructionSet><int>SIMD.index(simd)
        given.rows_path = [step.encode() for step in options.rows_at.split(".")]
        given.is_lines = options.ndjson
        given.is_strict = options.strict
        if options.key_by is not None:
            given.key_by = <string>options.key_by.encode()
        rules = BodyRules.of(schema, options)
        given.takes_keyed = rules.takes_keyed
        given.has_envelope_lines = rules.has_envelope_lines
        given.has_reports = rules.has_reports
        given.batch_rows = options.batch_rows
        given.batch_bytes = options.batch_bytes
        given.max_record_bytes = options.max_record_bytes
        given.max_depth = options.max_depth
        given.max_rescued = options.max_rescued
        self._schema = schema
        self._options = options
        self._columns = rules.columns
        self._said = EnvelopeReader(options, rules)
        self._decoder.reset(new Decoder(prepared.schema, given, level))

    @property
    def engine(self):
        """The engine's name."""
        return "fast"

    @property
    def envelope(self):
        """The envelope; complete once the decoder is closed."""
        self._check_free()
        envelope = self._said.envelope
        envelope.rows = self._decoder.get().envelope().rows
        envelope.rescued = self._decoder.get().envelope().rescued
        envelope.is_keyed = self._decoder.get().envelope().is_keyed
        return envelope

    @property
    def held_bytes(self):
        """The bytes that were fed but not read yet."""
        self._check_free()
        return self._decoder.get().held_bytes()

    def feed(self, bytes chunk not None):
        """Take the next bytes; return the batches that they completed, often none."""
        cdef const uint8_t* data = chunk
        cdef size_t size = len(chunk)
        cdef cbool is_good
        self._begin()
        try:
            with nogil:
                is_good = self._decoder.get().feed(data, size)
        finally:
            self._is_at_work = False
        return self._batches(is_good, False)

    def close(self):
        """End the body; return the last batches. Raises TruncatedBody if the body is incomplete."""
        cdef cbool is_good
        self._begin()
        try:
            with nogil:
                is_good = self._decoder.get().close()
        finally:
            self._is_at_work = False
        return self._batches(is_good, True)

    cdef _check_free(self):
        if self._is_at_work:
            raise UsageError("this decoder is at work in another thread")

    cdef _begin(self):
        self._check_free()
        if self._is_spent:
            raise UsageError("this decoder is spent: it was closed, or its body was bad")
        self._is_spent = self._is_at_work = True  # Spent, unless it succeeds.

    cdef _batches(self, cbool is_good, cbool is_last):
        cdef const Verdict* misfit
        try:
            self._take_remarks()
        except ReportedFailure:
            raise
        except DecodeError as error:
            misfit = self._decoder.get().held_misfit()
            if misfit != NULL and misfit.position < error.position:
                raise self._error(misfit[0]) from None
            raise
        if not is_good:
            raise self._error(self._decoder.get().verdict())
        cdef vector[unique_ptr[Batch]] full = self._decoder.get().take_batches()
        batches = [self._handed_over(move(full[i])) for i in range(full.size())]
        self._is_spent = is_last
        return batches

    cdef _take_remarks(self):
        """Take the remarks; raise the DecodeError that they mean. They come before the verdict."""
        cdef vector[Remark] remarks = self._decoder.get().take_remarks()
        cdef size_t i
        for i in range(remarks.size()):
            path = tuple([_step(step) for step in remarks[i].path])
            try:
                self._take_remark(&remarks[i], path)
            except Malformed as malformed:
                raise decode_error(malformed, 0, ()) from None

    cdef _take_remark(self, const Remark* remark, path):
        position = remark.position
        if remark.kind == RemarkKind.Begin:
            self._said.begin()
            self._is_enveloped = not self._options.ndjson
        elif remark.kind == RemarkKind.Key:
            self._said.key(path[0])
        elif remark.kind == RemarkKind.Member:
            self._said.member(path, <bytes>remark.text, position)
        elif remark.kind == RemarkKind.End:
            self._said.envelope.rows = remark.rows
            self._said.end(position, rows=remark.own_rows, has_rows=remark.has_rows)
        else:
            are_rows = remark.kind == RemarkKind.Rows
            members = report_of(
                <bytes>remark.text, self._columns, are_rows=are_rows, is_data=remark.is_data
            )
            if members is not None:
                is_below = self._is_enveloped and not are_rows
                in_envelope = tuple(self._options.rows_at.split(".")) if is_below else ()
                raise decode_error(Reported(members, position), 0, in_envelope + path)

    cdef _handed_over(self, unique_ptr[Batch] batch):
        cdef ArrowArray array
        export_batch(move(batch), &array)
        try:
            # Uses the existing schema: exporting and importing one would double the cost.
            return pa.RecordBatch._import_from_c(<uintptr_t>&array, self._schema)
        finally:
            release_array(&array)  # Does nothing if it was imported.

    cdef _error(self, Verdict verdict):
        argument = <bytes>verdict.argument
        steps = tuple([_step(step) for step in verdict.path])
        place = {"position": verdict.position, "path": path_text(steps)}
        if verdict.code == CErrorCode.Misfit:
            in_record = steps[len(steps) - self._steps_in_record(steps) :]
            one = Rescued(in_record, 0, len(argument))
            reason = why(self._schema, argument, one, self._options.max_rescued)
            return RescueError(reason, parameter="strict", **place)
        number = <int>verdict.code
        code = ERROR_CODES[number]
        reason = code.text(argument.decode())
        if code is ErrorCode.MEMORY:
            return MemoryError(reason)
        place |= {"parameter": code.parameter, "advice": code.advice}
        reason = with_finding(reason, <bytes>verdict.quoted, ndjson=self._options.ndjson)
        return _ERRORS.get(code, DecodeError)(reason, **place)

    cdef _steps_in_record(self, steps):
        """Return how many steps lead from the record to the value: those after the row's own."""
        return len(steps) - 1 - (self._options.rows_at.count(".") + 1 if self._is_enveloped else 0)


cdef class _Prepared:
    """A schema in the core's form."""

    cdef shared_ptr[const CSchema] schema

    def __cinit__(self, exact):
        cdef vector[CField] fields
        check_schema(exact.schema)
        for field in exact.schema:
            fields.push_back(_field(field))
        self.schema.reset(new CSchema(fields))


_prepared = lru_cache(maxsize=16)(_Prepared)


cdef _step(Step step):
    return step.key.decode() if step.index < 0 else step.index


cdef CField _field(field) except *:
    cdef CField result
    result.name = field.name.encode()
    role = json_role(field)
    kind = field.type
    if role is not None:
        roles = {JSON_VALUE: <int>Kind.Json, JSON_RESCUED: <int>Kind.Rescued, JSON_RECORD: <int>Kind.Record}
        result.kind = <Kind><int>roles[role]
    elif pa.types.is_list(kind):
        result.kind = Kind.List
        result.children.push_back(_field(kind.value_field))
    elif pa.types.is_struct(kind):
        result.kind = Kind.Struct
        for child in kind:
            result.children.push_back(_field(child))
    else:
        scalars = {
            pa.string(): <int>Kind.String,
            pa.int64(): <int>Kind.Int64,
            pa.float64(): <int>Kind.Double,
            pa.bool_(): <int>Kind.Bool,
            TIMESTAMP: <int>Kind.Timestamp,
        }
        result.kind = <Kind><int>scalars[kind]
    return result
