// SSE2, which every x86-64 processor has: vectors of 16 bytes. scalar-inl.h says what each function does.
#pragma once

#include "core/reader/generic/dependencies.h"

#define STREAMLIC_ISA sse2

namespace streamlic::sse2 {

constexpr size_t kVectorBytes = 16;

inline unsigned mask_of(__m128i bytes) { return static_cast<unsigned>(_mm_movemask_epi8(bytes)); }
inline __m128i load(const uint8_t* at) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
}

inline uint64_t terminators_in_vector(const uint8_t* at) {
  const __m128i vector = load(at);
  const __m128i quotes = _mm_cmpeq_epi8(vector, _mm_set1_epi8('"'));
  const __m128i slashes = _mm_cmpeq_epi8(vector, _mm_set1_epi8('\\'));
  const __m128i controls = _mm_cmpeq_epi8(_mm_min_epu8(vector, _mm_set1_epi8(0x1F)), vector);
  return mask_of(_mm_or_si128(_mm_or_si128(quotes, slashes), controls));
}

inline unsigned first_terminator(const uint8_t* at) {
  return static_cast<unsigned>(
      __builtin_ctzll(terminators_in_vector(at) | uint64_t{1} << kVectorBytes));
}

inline uint64_t terminators_of(const uint8_t* at) {
  return terminators_in_vector(at) | terminators_in_vector(at + 16) << 16 |
         terminators_in_vector(at + 32) << 32 | terminators_in_vector(at + 48) << 48;
}

inline uint32_t digits_in_vector(const uint8_t* at) {
  const __m128i values = _mm_sub_epi8(load(at), _mm_set1_epi8('0'));
  return mask_of(_mm_cmpeq_epi8(_mm_min_epu8(values, _mm_set1_epi8(9)), values));
}

inline uint32_t digits_in(const uint8_t* at) {
  return digits_in_vector(at) | digits_in_vector(at + 16) << 16;
}

struct NumberBits {
  uint64_t digits, zeros, points, minuses, commas;
};
inline uint64_t equal_to(const uint8_t* at, char byte) {
  uint64_t bits = 0;
  for (unsigned i = 0; i < 64; i += 16) {
    bits |= uint64_t{mask_of(_mm_cmpeq_epi8(load(at + i), _mm_set1_epi8(byte)))} << i;
  }
  return bits;
}
inline NumberBits number_bits(const uint8_t* at) {
  return {digits_in(at) | uint64_t{digits_in(at + 32)} << 32, equal_to(at, '0'), equal_to(at, '.'),
          equal_to(at, '-'), equal_to(at, ',')};
}

inline void copy_vector(uint8_t* to, const uint8_t* from) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), load(from));
}

inline bool matches(const uint8_t* at, const Pattern& pattern) {
  const unsigned low = mask_of(_mm_cmpeq_epi8(load(at), load(pattern.text)));
  const unsigned high = mask_of(_mm_cmpeq_epi8(load(at + 16), load(pattern.text + 16)));
  return (pattern.mask & ~uint64_t{low | high << 16}) == 0;
}

}  // namespace streamlic::sse2
