// Signs that a row may be something else than data: the mirror of signs.py, as far as reading needs it.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "strict.h"

namespace streamlic {

// A record or a member that is longer is not searched for signs.
constexpr size_t kSearchedBytes = size_t{1} << 20;

// Looks for the bytes without which no record is an error report. What was searched once is not again.
class ReportMarks {
 public:
  // Says that other bytes may stand by now where a text was read.
  void forget() { next_ = {}; }

  // Whether there are any from `begin` to `end`; up to `text_end` it is looked ahead for them.
  bool are_in(const uint8_t* begin, const uint8_t* end, const uint8_t* text_end);

 private:
  std::array<const uint8_t*, 2> next_{};  // where each stands next, or where the text ends
};

// Whether a line, a valid object, is an envelope: of rows, or of nothing but facts.
bool is_envelope(Text line);

// Whether a valid object has no member of this name, or null in the last one.
bool lacks_member(Text record, const std::string& name);

}  // namespace streamlic
