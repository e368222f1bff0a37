// Portable C++ without vector instructions: words of eight bytes.
#pragma once

#include "core/reader/generic/dependencies.h"

#define STREAMLIC_ISA scalar

namespace streamlic::scalar {

constexpr size_t kVectorBytes = 8;

// The index of the first string terminator in a vector: a quote, a backslash or a byte below 0x20;
// kVectorBytes if there is none.
inline unsigned first_terminator(const uint8_t* at) {
  uint64_t word;
  std::memcpy(&word, at, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  word = __builtin_bswap64(word);
#endif
  constexpr uint64_t kOnes = 0x0101010101010101u;
  constexpr uint64_t kHigh = 0x8080808080808080u;
  const uint64_t quotes = word ^ (kOnes * '"');
  const uint64_t slashes = word ^ (kOnes * '\\');
  // A borrow reaches only higher bytes, so the first byte found is correct.
  const uint64_t found = ((quotes - kOnes) & ~quotes) | ((slashes - kOnes) & ~slashes) |
                         ((word - kOnes * 0x20) & ~word);
  return (found & kHigh) ? static_cast<unsigned>(__builtin_ctzll(found & kHigh)) / 8 : 8;
}

// A bit for each of 64 bytes, set for a string terminator; the lowest is the first byte.
inline uint64_t terminators_of(const uint8_t* at) {
  uint64_t bits = 0;
  for (unsigned i = 0; i < 64; ++i) {
    bits |= uint64_t{at[i] < 0x20 || at[i] == '"' || at[i] == '\\'} << i;
  }
  return bits;
}

// A bit for each of 32 bytes, set for a digit; the lowest is the first byte.
inline uint32_t digits_in(const uint8_t* at) {
  uint32_t bits = 0;
  for (unsigned i = 0; i < 32; ++i) {
    bits |= uint32_t{static_cast<uint8_t>(at[i] - '0') < 10} << i;
  }
  return bits;
}

// A bit for each of 64 bytes of these kinds.
struct NumberBits {
  uint64_t digits, zeros, points, minuses, commas;
};
inline NumberBits number_bits(const uint8_t* at) {
  NumberBits bits{};
  for (unsigned i = 0; i < 64; ++i) {
    bits.digits |= uint64_t{static_cast<uint8_t>(at[i] - '0') < 10} << i;
    bits.zeros |= uint64_t{at[i] == '0'} << i;
    bits.points |= uint64_t{at[i] == '.'} << i;
    bits.minuses |= uint64_t{at[i] == '-'} << i;
    bits.commas |= uint64_t{at[i] == ','} << i;
  }
  return bits;
}

inline void copy_vector(uint8_t* to, const uint8_t* from) { std::memcpy(to, from, kVectorBytes); }

// Whether the bytes at `at` begin with the pattern. 32 bytes must be readable.
inline bool matches(const uint8_t* at, const Pattern& pattern) {
  return pattern.mask != Pattern::kNever && std::memcmp(at, pattern.text, pattern.size) == 0;
}

}  // namespace streamlic::scalar
