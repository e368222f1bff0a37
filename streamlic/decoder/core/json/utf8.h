// UTF-8 (RFC 3629), checked as it arrives, cut anywhere.
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
  // where it began in an earlier chunk. After that the check is spent.
  int64_t take(const uint8_t* bytes, size_t size);

  // How many bytes of an unfinished sequence the last chunks ended with.
  size_t partial() const { return missing_ ? taken_ : 0; }

 private:
  // Skips whole blocks of valid UTF-8 from the beginning of a sequence on, and stops at the beginning of
  // one: before a block with something wrong in it, or near the end. Null where no vectors do it.
  const uint8_t* (*after_valid_)(const uint8_t* at, const uint8_t* end) = nullptr;
  unsigned missing_ = 0;  // bytes of the sequence in progress
  unsigned taken_ = 0;    // bytes of it that were taken
  uint8_t low_ = 0x80;    // what its next byte may be
  uint8_t high_ = 0xBF;
};

}  // namespace streamlic
