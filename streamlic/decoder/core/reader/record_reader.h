// One record, straight from its bytes into columns: the loop where the time goes.
//
// Rules:
// 1. It takes valid JSON only, and all of it: what it refuses is for scanner.h to judge.
// 2. It stops at the end of the text only if all before that is the beginning of valid JSON.
// 3. What does not fit a column is null there, and noted as a misfit with its path. Where keys
//    repeat or are written with escapes, that is not sure: rescue.h looks at the record again.
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

// A step of the path to a value: a key's bytes as they are in the text, or, without any, an index.
struct RawStep {
  const uint8_t* key;
  size_t size;
  int64_t index;
};

// A value that did not fit, and how many of the steps lead to it.
struct Misfit {
  size_t steps;
  const uint8_t* value;
  size_t size;
};

struct Misfits {
  static constexpr size_t kFew = 64;  // and one; of more no more is noted

  std::vector<Misfit> list;
  std::vector<RawStep> steps;  // of one misfit after the other
  bool is_sure = true;         // Each is there once, and its keys have no escapes.
  bool has_escapes = false;    // anywhere in the record

  void clear() {
    list.clear();
    steps.clear();
    is_sure = true;
    has_escapes = false;
  }
};

// How many rows one call may read. After the first it reads only rows that need no rescue, each an object
// with a comma and another object after it.
struct RowBudget {
  int64_t rows = 0;                 // as many more
  const uint8_t* before = nullptr;  // none that ends here, or after it
  int64_t record_bytes = 0;         // none that is longer
};

struct RecordsRead {
  const uint8_t* end;    // of the last record; null where it could not be read to its end
  Stop stop;             // why not
  const uint8_t* begin;  // of the last record
  int64_t plain_rows;    // records before it, none of which has misfits
};

class RecordReader {
 public:
  explicit RecordReader(const Schema& schema) : plan_(schema.plan) {
    for (size_t i = 0; i < schema.fields.size(); ++i) {
      if (schema.fields[i].kind == Kind::Record) record_column_ = i;
    }
  }
  virtual ~RecordReader() = default;

  // Reads the record that begins at `text` into `row` of the columns, and those that follow it, as far
  // as `budget` goes; `depth` brackets may be open within each.
  virtual RecordsRead read(const uint8_t* text, const uint8_t* end,
                           std::vector<ColumnBuilder>& columns, int64_t row, int depth,
                           const RowBudget& budget) = 0;

  // Says that other bytes may be by now where a text was read.
  virtual void forget() = 0;

  // Of the last record that was read.
  const Misfits& misfits() const { return misfits_; }

 protected:
  static constexpr size_t kNone = SIZE_MAX;

  Plan plan_;
  size_t record_column_ = kNone;  // which takes whole records, if there is one
  Misfits misfits_;
};

// A reader by these instructions, or by the best that can be had.
std::unique_ptr<RecordReader> make_record_reader(InstructionSet instructions, const Schema& schema);

// Writes a JSON value's text to a JSON column, unpaired surrogates mended; null is null.
void put_json(ColumnBuilder& column, const Row& row, const uint8_t* text, size_t size,
              bool has_escapes);

}  // namespace streamlic
