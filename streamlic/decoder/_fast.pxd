# What the Python interface uses of the core.

from libc.stdint cimport int64_t, uint8_t
from libcpp cimport bool as cbool
from libcpp.memory cimport shared_ptr, unique_ptr
from libcpp.optional cimport optional
from libcpp.string cimport string
from libcpp.vector cimport vector


cdef extern from "core/arrow/columns.h" namespace "streamlic" nogil:
    cdef enum class Kind(uint8_t):
        String, Int64, Double, Bool, Timestamp, Struct, List, Json, Rescued, Record

    cdef cppclass CField "streamlic::Field":
        string name
        Kind kind
        vector[CField] children

    cdef cppclass Batch:
        int64_t rows


cdef extern from "core/json/scanner.h" namespace "streamlic" nogil:
    cdef cppclass Step:
        string key
        int64_t index


cdef extern from "core/json/error_code.h" namespace "streamlic" nogil:
    cdef enum class CErrorCode "streamlic::ErrorCode"(uint8_t):
        Misfit "streamlic::ErrorCode::Misfit"

    const char* kErrorCodeNames[]
    const size_t kErrorCodes

cdef extern from "core/body/envelope.h" namespace "streamlic" nogil:
    cdef enum class RemarkKind "streamlic::Remark::Kind"(uint8_t):
        Begin "streamlic::Remark::Kind::Begin"
        Key "streamlic::Remark::Kind::Key"
        Member "streamlic::Remark::Kind::Member"
        End "streamlic::Remark::Kind::End"
        Rows "streamlic::Remark::Kind::Rows"

    cdef cppclass Remark:
        RemarkKind kind
        vector[Step] path
        string text
        int64_t position
        int64_t rows
        int64_t own_rows
        cbool has_rows
        cbool is_data

    cdef cppclass CEnvelope "streamlic::Envelope":
        cbool is_keyed
        int64_t rows
        int64_t rescued


cdef extern from "core/reader/keys.h" namespace "streamlic" nogil:
    cdef cppclass CSchema "streamlic::Schema":
        CSchema(vector[CField]) except +


cdef extern from "core/instruction_set.h" namespace "streamlic" nogil:
    cdef enum class InstructionSet(uint8_t):
        Scalar, Sse2, Avx2, Neon

    InstructionSet best_instruction_set()


cdef extern from "core/body/options.h" namespace "streamlic" nogil:
    cdef cppclass Options:
        vector[string] rows_path
        cbool is_lines
        cbool is_strict
        optional[string] key_by
        cbool takes_keyed
        cbool has_envelope_lines
        cbool has_reports
        int64_t batch_rows
        int64_t batch_bytes
        int64_t max_record_bytes
        int max_depth
        int64_t max_rescued


cdef extern from "core/body/decoder.h" namespace "streamlic" nogil:
    cdef cppclass Verdict:
        CErrorCode code
        string argument
        int64_t position
        vector[Step] path
        string quoted

    cdef cppclass Decoder:
        Decoder(shared_ptr[const CSchema], Options, InstructionSet) except +
        cbool feed(const uint8_t*, size_t) except +
        cbool close() except +
        Verdict verdict() except +
        const Verdict* held_misfit()
        const CEnvelope& envelope() except +
        size_t held_bytes()
        vector[Remark] take_remarks() except +
        vector[unique_ptr[Batch]] take_batches() except +


cdef extern from "core/arrow/arrow_export.h" nogil:
    cdef cppclass ArrowArray:
        pass

cdef extern from "core/arrow/arrow_export.h" namespace "streamlic" nogil:
    void export_batch(unique_ptr[Batch], ArrowArray*) except +
    void release_array(ArrowArray*)
