// One record, straight from its bytes into columns: the loop where the time goes.
//
// Rules:
// 1. It takes valid JSON only, and all of it: what it refuses is for scanner.h to judge.
// 2. It stops at the end of the text only if all before that is the beginning of valid JSON.
// 3. What does not fit a column is null there, and noted with its place. Where keys repeat or are
//    written with escapes, the notes are not to be relied on: rescue.h looks at the record again.
// 4. It never reads behind the end of the text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/arrow/columns.h"
#include "core/reader/keys.h"
#include "core/simd.h"

namespace streamlic {

enum class Stop : uint8_t { None, AtEnd, Refused };

// A step on the way to a value: a key's bytes as they stand, or, without any, an index.
struct Place {
  const uint8_t* key;
  size_t size;
  int64_t index;
};

// A value that did not fit, and how many steps of `places` lead to it.
struct Note {
  size_t steps;
  const uint8_t* value;
  size_t size;
};

struct Notes {
  static constexpr size_t kFew = 64;  // and one; of more no more is noted

  std::vector<Note> notes;
  std::vector<Place> places;  // of one note after the other
  bool is_sure = true;        // Each is there once, and its keys have no escapes.
  bool has_escapes = false;   // anywhere in the record

  void clear() {
    notes.clear();
    places.clear();
    is_sure = true;
    has_escapes = false;
  }
};

// How far reading may go on without a word: over rows that need no rescue, each an object with a comma
// and another object behind it.
struct Room {
  int64_t rows = 0;                         // as many
  const uint8_t* before = nullptr;          // and none that ends here, or behind it
  int64_t record_bytes = 0;                 // or is longer
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
  // as `room` goes; `depth` brackets may be open within each. Returns where the last one ends, or null,
  // and then `stop` says why. `begin` is where that one begins; those before it are plain rows.
  virtual const uint8_t* read(const uint8_t* text, const uint8_t* end, std::vector<Column>& columns,
                              int64_t row, int depth, const Room& room) = 0;

  // Says that other bytes may stand by now where a text was read.
  void forget() {
    strip_ = quick_end_ = nullptr;
    strip_bytes_ = 0;
  }

  Stop stop() const { return stop_; }
  const uint8_t* begin() const { return begin_; }
  int64_t plain_rows() const { return plain_rows_; }
  bool needs_rescue() const { return !notes_.notes.empty(); }
  const Notes& notes() const { return notes_; }

 protected:
  Plan plan_;
  static constexpr size_t kNone = SIZE_MAX;
  size_t record_column_ = kNone;  // which takes whole records, if there is one
  Stop stop_ = Stop::None;
  const uint8_t* begin_ = nullptr;
  int64_t plain_rows_ = 0;
  Notes notes_;
  std::string scratch_;
  const uint8_t* strip_ = nullptr;
  size_t strip_bytes_ = 0;
  const uint8_t* quick_end_ = nullptr;
};

// A reader by these instructions; by lesser ones if this build or this processor lacks them.
std::unique_ptr<RecordReader> make_record_reader(Simd simd, const Schema& schema);

// Writes a JSON value's text to a JSON column, unpaired surrogates mended; null is null.
void put_json(Column& column, const Row& row, const uint8_t* text, size_t size, bool has_escapes);

}  // namespace streamlic
