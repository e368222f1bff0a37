// Checks UTF-8 (RFC 3629) chunk by chunk, wherever it is cut.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/instruction_set.h"

namespace streamlic {

class Utf8Check {
 public:
  explicit Utf8Check(InstructionSet instructions);

  static constexpr int64_t kSound = INT64_MAX;

  // Takes the next bytes. Returns kSound, or the offset of the first ill-formed sequence: negative
  // if it began in an earlier chunk. After an ill-formed sequence, do not call it again.
  int64_t take(const uint8_t* bytes, size_t size);

  // The bytes of the unfinished sequence at the end of the last chunk.
  size_t partial() const { return missing_ ? taken_ : 0; }

 private:
  // Skips whole blocks of valid UTF-8. Starts and stops at the beginning of a sequence; stops before an
  // invalid block, or near the end. Null without vector instructions.
  const uint8_t* (*after_valid_)(const uint8_t* at, const uint8_t* end) = nullptr;
  unsigned missing_ = 0;  // bytes of the sequence in progress
  unsigned taken_ = 0;    // bytes of it seen so far
  uint8_t low_ = 0x80;    // the range of its next byte
  uint8_t high_ = 0xBF;
};

}  // namespace streamlic
