// Signs that a row may not be data. Mirrors the part of failure_signs.py that reading needs.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/arrow/columns.h"
#include "core/json/scanner.h"

namespace streamlic {

// Of a longer member only the start of a text is kept.
constexpr size_t kSearchedBytes = size_t{1} << 20;

// A valid JSON value: a long text shortened to its start, any other long value to nothing.
std::string shortened(Text value);

// The members of an object that may be an error report. failure_signs.py judges it.
class Report {
 public:
  // `are_rows`: the members are rows under their keys, and a member that is an object is a record.
  Report(const std::vector<Field>& fields, bool are_rows) : fields_(&fields), are_rows_(are_rows) {}

  void take(const std::string& key, Text value);

  // Whether the object may be an error report at all.
  bool may_be() const { return !has_id_ && !members_.empty(); }

  // Whether it has a value for a column.
  bool is_data() const { return is_data_; }

  // The members, as a JSON object.
  std::string json() const;

 private:
  const std::vector<Field>* fields_;
  bool are_rows_;
  bool has_id_ = false;
  bool is_data_ = false;
  std::vector<std::pair<std::string, std::string>> members_;
};

// The error report that a valid record may be.
Report report_in(Text record, const std::vector<Field>& fields);

// Searches for the marks that every error report has one of. No byte is searched twice.
class ReportMarks {
 public:
  // With whole records, fewer marks count.
  explicit ReportMarks(bool is_whole_record) : marks_(is_whole_record ? 3 : 4) {}

  // Call it after the bytes of a text may have changed.
  void forget() { next_ = {}; }

  // Whether a mark is between `begin` and `end`. It may search ahead up to `text_end`.
  bool are_in(const uint8_t* begin, const uint8_t* end, const uint8_t* text_end);

 private:
  size_t marks_;
  std::array<const uint8_t*, 4> next_{};  // the next place of each mark, or the end of the text
};

// Whether a line, a valid object, is an envelope: with rows, or with only an envelope's other members.
bool is_envelope(Text line);

// Whether a valid object has no member of this name, or null as its last value.
bool lacks_member(Text record, const std::string& name);

}  // namespace streamlic
