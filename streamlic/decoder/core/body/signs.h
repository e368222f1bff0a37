// Signs that a row may be something else than data: the mirror of failure_signs.py, as far as reading needs it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/arrow/columns.h"
#include "core/json/scanner.h"

namespace streamlic {

// Of a member that is longer only the start of a text is kept.
constexpr size_t kSearchedBytes = size_t{1} << 20;

// A valid JSON value; of a long text its start, of anything else that is long nothing.
std::string shortened(Text value);

// What an object says that may be a report of a failure. What it means is not judged here.
class Report {
 public:
  // `are_rows` says that the members are rows under their keys: one that is an object is a record.
  Report(const std::vector<Field>& fields, bool are_rows) : fields_(&fields), are_rows_(are_rows) {}

  void take(const std::string& key, Text value);

  // Whether it may be one at all.
  bool may_be() const { return !has_id_ && !members_.empty(); }

  // Whether it has a value for a column.
  bool is_data() const { return is_data_; }

  // What it says, as an object.
  std::string json() const;

 private:
  const std::vector<Field>* fields_;
  bool are_rows_;
  bool has_id_ = false;
  bool is_data_ = false;
  std::vector<std::pair<std::string, std::string>> members_;
};

// The report that a valid record may be.
Report report_in(Text record, const std::vector<Field>& fields);

// Looks for the bytes without which no record is an error report. What was searched once is not again.
class ReportMarks {
 public:
  // A record that is kept whole is a report by fewer marks.
  explicit ReportMarks(bool is_whole_record) : marks_(is_whole_record ? 2 : 4) {}

  // Says that other bytes may be by now where a text was read.
  void forget() { next_ = {}; }

  // Whether there are any from `begin` to `end`; up to `text_end` it is looked ahead for them.
  bool are_in(const uint8_t* begin, const uint8_t* end, const uint8_t* text_end);

 private:
  size_t marks_;
  std::array<const uint8_t*, 4> next_{};  // where each is next, or where the text ends
};

// Whether a line, a valid object, is an envelope: of rows, or of nothing but facts.
bool is_envelope(Text line);

// Whether a valid object has no member of this name, or null in the last one.
bool lacks_member(Text record, const std::string& name);

}  // namespace streamlic
