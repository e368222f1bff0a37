// UTF-8 (RFC 3629), checked as it arrives, cut anywhere.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/simd.h"

namespace streamlic {

class Utf8Check {
 public:
  explicit Utf8Check(Simd simd) : is_wide_(simd == Simd::Avx2 && best_simd() == Simd::Avx2) {}

  static constexpr int64_t kSound = INT64_MAX;

  // Takes the next bytes. Returns kSound, or the offset of the first ill-formed sequence: negative
  // where it began in an earlier chunk. After that the check is spent.
  int64_t take(const uint8_t* bytes, size_t size);

  // The bytes of a sequence that has begun and is not whole as yet.
  size_t begun() const { return missing_ ? begun_ : 0; }

 private:
  bool is_wide_;
  unsigned missing_ = 0;  // bytes of the sequence in progress
  unsigned begun_ = 0;    // bytes of it that were taken
  uint8_t low_ = 0x80;    // what its next byte may be
  uint8_t high_ = 0xBF;
};

}  // namespace streamlic
