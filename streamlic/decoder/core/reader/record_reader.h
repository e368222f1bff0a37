// Reads records from their bytes straight into columns: the inner loop of the decoder.
//
// Rules:
// 1. It accepts exactly valid JSON. scanner.h finds the error in what it refuses.
// 2. It stops at the end of the text only if the text is a prefix of valid JSON.
// 3. A value that does not fit its column becomes null there, and is noted as a misfit with its path. If
//    keys repeat or have escapes, the misfits are not sure: rescue.h reads the record again.
// 4. It never reads past the end of the text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/arrow/columns.h"
#include "core/reader/keys.h"
#include "core/instruction_set.h"

namespace streamlic {

enum class Stop : uint8_t { None, AtEnd, Refused, NoRoom };

// A step of the path to a value: a key, as in the text, or an index if `key` is null.
struct RawStep {
  const uint8_t* key;
  size_t size;
  int64_t index;
};

// A value that did not fit, and the number of steps in its path.
struct Misfit {
  size_t steps;
  const uint8_t* value;
  size_t size;
};

struct Misfits {
  static constexpr size_t kFew = 200;  // at most one more is noted

  std::vector<Misfit> list;
  std::vector<RawStep> steps;  // the steps of all misfits, in order
  bool is_sure = true;         // No key is repeated, and none has escapes.
  bool has_unpaired = false;   // an unpaired surrogate escape, anywhere in the record

  void clear() {
    list.clear();
    steps.clear();
    is_sure = true;
    has_unpaired = false;
  }
};

// How many rows one call may read after the first. It continues only while rows are objects without
// misfits that a comma and another object follow.
struct RowBudget {
  int64_t rows = 0;                 // at most this many more
  const uint8_t* before = nullptr;  // only rows that end before this
  int64_t record_bytes = 0;         // only rows of at most this many bytes
};

struct RecordsRead {
  const uint8_t* end;    // of the last record; null if it was not read completely
  Stop stop;             // why not
  const uint8_t* begin;  // of the last record
  int64_t plain_rows;    // the records before it, which have no misfits
};

struct ValueSkipped {
  const uint8_t* end;  // null if it was not skipped
  Stop stop;           // why not
};

class RecordReader {
 public:
  explicit RecordReader(const Schema& schema) : plan_(schema.plan) {
    for (size_t i = 0; i < schema.fields.size(); ++i) {
      if (schema.fields[i].kind == Kind::Record) record_column_ = i;
    }
  }
  virtual ~RecordReader() = default;

  // Reads the record that begins at `text` into `row` of the columns, and the records after it that
  // `budget` allows. `depth` brackets may be open within each.
  virtual RecordsRead read(const uint8_t* text, const uint8_t* end,
                           std::vector<ColumnBuilder>& columns, int64_t row, int depth,
                           const RowBudget& budget) = 0;

  // Skips the value that begins at `text`, if it is valid. A number must be followed by a byte.
  virtual ValueSkipped skip(const uint8_t* text, const uint8_t* end, int depth) = 0;

  // Call it after the bytes of a text may have changed.
  virtual void forget() = 0;

  // The misfits of the last record.
  const Misfits& misfits() const { return misfits_; }

 protected:
  static constexpr size_t kNone = SIZE_MAX;

  Plan plan_;
  size_t record_column_ = kNone;  // the column for whole records, if any
  Misfits misfits_;
};

// Makes a reader for these instructions, or for the best ones available.
std::unique_ptr<RecordReader> make_record_reader(InstructionSet instructions, const Schema& schema);

// Writes a JSON value's text to a JSON column; null becomes null. Mends unpaired surrogates if it has some.
void put_json(ColumnBuilder& column, const Row& row, const uint8_t* text, size_t size,
              bool has_unpaired);

}  // namespace streamlic
