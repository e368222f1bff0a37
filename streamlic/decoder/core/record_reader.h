// One record, straight from its bytes into columns: the loop where the time goes.
//
// Rules:
// 1. It takes valid JSON only, and all of it: what it refuses is for strict.h to judge.
// 2. It stops at the end of the text only if all before that is the beginning of valid JSON.
// 3. What does not fit a column is null there, and `needs_rescue` is set: rescue.h finds it again.
// 4. It never reads behind the end of the text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "columns.h"
#include "keys.h"

namespace streamlic {

enum class Simd : uint8_t { Plain, Sse2, Avx2 };

enum class Stop : uint8_t { None, AtEnd, Refused };

class RecordReader {
 public:
  explicit RecordReader(const std::vector<Field>& schema) : plan_(schema) {
    is_whole_record_ = schema.size() == 1 && schema[0].kind == Kind::Record;
  }
  virtual ~RecordReader() = default;

  // Reads the record that begins at `text` into `row` of the columns; `depth` brackets may be open
  // within it. Returns where it ends, or null, and then `stop` says why.
  virtual const uint8_t* read(const uint8_t* text, const uint8_t* end, std::vector<Column>& columns,
                              int64_t row, int depth) = 0;

  Stop stop() const { return stop_; }
  bool needs_rescue() const { return needs_rescue_; }

 protected:
  Plan plan_;
  bool is_whole_record_ = false;
  Stop stop_ = Stop::None;
  bool needs_rescue_ = false;
  std::string scratch_;
};

// The best that this processor has.
Simd best_simd();

// A reader by these instructions; by lesser ones if this build or this processor lacks them.
std::unique_ptr<RecordReader> make_record_reader(Simd simd, const std::vector<Field>& schema);

// Writes a JSON value's text to a JSON column, unpaired surrogates mended; null is null.
void put_json(Column& column, int64_t row, const uint8_t* text, size_t size, bool has_escapes);

}  // namespace streamlic
