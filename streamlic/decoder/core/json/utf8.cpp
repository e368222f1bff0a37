#include "core/json/utf8.h"

#include <cstring>

namespace streamlic {

// core/reader/generic/utf8-inl.h has both.
namespace avx2 {
const uint8_t* after_valid_utf8(const uint8_t* at, const uint8_t* end);
}
namespace neon {
const uint8_t* after_valid_utf8(const uint8_t* at, const uint8_t* end);
}

namespace {

constexpr uint64_t kHighBits = 0x8080808080808080u;

uint64_t word_at(const uint8_t* bytes) {
  uint64_t word;
  std::memcpy(&word, bytes, 8);
  return word;
}

// Skips ASCII, 64 bytes at a time where possible.
const uint8_t* after_ascii(const uint8_t* at, const uint8_t* end) {
  while (end - at >= 64) {
    uint64_t bits = 0;
    for (size_t i = 0; i < 8; ++i) bits |= word_at(at + i * 8);
    if (bits & kHighBits) break;
    at += 64;
  }
  while (end - at >= 8) {
    const uint64_t bits = word_at(at) & kHighBits;
    if (bits) break;
    at += 8;
  }
  while (at < end && *at < 0x80) ++at;
  return at;
}

bool is_tail(uint8_t byte) { return (byte & 0xC0) == 0x80; }

// Skips complete two- and three-byte sequences of the common kinds; stops at any other.
const uint8_t* after_common(const uint8_t* at, const uint8_t* end) {
  while (end - at >= 3) {
    const uint8_t lead = *at;
    if (lead >= 0xC2 && lead <= 0xDF && is_tail(at[1])) {
      at += 2;
    } else if (lead >= 0xE1 && lead <= 0xEC && is_tail(at[1]) && is_tail(at[2])) {
      at += 3;
    } else {
      break;
    }
  }
  return at;
}

}  // namespace

Utf8Check::Utf8Check(InstructionSet instructions) {
  switch (usable_instruction_set(instructions)) {
#if defined(STREAMLIC_HAS_AVX2)
    case InstructionSet::Avx2:
      after_valid_ = avx2::after_valid_utf8;
      break;
#endif
#if defined(STREAMLIC_HAS_NEON)
    case InstructionSet::Neon:
      after_valid_ = neon::after_valid_utf8;
      break;
#endif
    default:
      break;
  }
}

int64_t Utf8Check::take(const uint8_t* bytes, size_t size) {
  const uint8_t* const end = bytes + size;
  const uint8_t* at = bytes;
  while (at < end) {
    if (!missing_) {
      if (after_valid_) at = after_valid_(at, end);
      at = after_ascii(at, end);
      at = after_common(at, end);
      if (at == end) break;
    }
    const uint8_t byte = *at;
    if (missing_) {
      if (byte < low_ || byte > high_) return at - bytes - static_cast<int64_t>(taken_);
      low_ = 0x80;
      high_ = 0xBF;
      --missing_;
      ++taken_;
    } else if (byte >= 0x80) {
      if (byte < 0xC2 || byte > 0xF4) return at - bytes;
      missing_ = byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
      taken_ = 1;
      low_ = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
      high_ = byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF;
    }
    ++at;
  }
  return kSound;
}

}  // namespace streamlic
