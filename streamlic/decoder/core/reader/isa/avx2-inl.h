// AVX2 with BMI and BMI2: vectors of 32 bytes. scalar-inl.h says what each function does.
#pragma once

#include "core/reader/generic/dependencies.h"

#define STREAMLIC_ISA avx2

STREAMLIC_TARGET_REGION("avx2,bmi,bmi2")

namespace streamlic::avx2 {

constexpr size_t kVectorBytes = 32;

inline __m256i load(const uint8_t* at) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
}
inline unsigned mask_of(__m256i bytes) {
  return static_cast<unsigned>(_mm256_movemask_epi8(bytes));
}

inline unsigned terminators_in_vector(const uint8_t* at) {
  const __m256i vector = load(at);
  // A quote is 0x22, a backslash 0x5C: the lower half says which of the two a byte may be.
  const __m256i candidates = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 0, '"', 0, 0, 0, 0, 0, 0, 0, 0, 0, '\\', 0, 0, 0));
  const __m256i found = _mm256_cmpeq_epi8(_mm256_shuffle_epi8(candidates, vector), vector);
  const __m256i controls =
      _mm256_cmpeq_epi8(_mm256_min_epu8(vector, _mm256_set1_epi8(0x1F)), vector);
  return mask_of(_mm256_or_si256(found, controls));
}

inline unsigned first_terminator(const uint8_t* at) {
  return _tzcnt_u32(terminators_in_vector(at));
}

inline uint64_t terminators_of(const uint8_t* at) {
  return terminators_in_vector(at) | uint64_t{terminators_in_vector(at + 32)} << 32;
}

inline uint32_t digits_in(const uint8_t* at) {
  const __m256i values = _mm256_sub_epi8(load(at), _mm256_set1_epi8('0'));
  return mask_of(_mm256_cmpeq_epi8(_mm256_min_epu8(values, _mm256_set1_epi8(9)), values));
}

struct NumberBits {
  uint64_t digits, zeros, points, minuses, commas;
};
inline uint64_t equal_to(__m256i low, __m256i high, char byte) {
  const __m256i sought = _mm256_set1_epi8(byte);
  return mask_of(_mm256_cmpeq_epi8(low, sought)) |
         uint64_t{mask_of(_mm256_cmpeq_epi8(high, sought))} << 32;
}
inline NumberBits number_bits(const uint8_t* at) {
  const __m256i low = load(at);
  const __m256i high = load(at + 32);
  return {digits_in(at) | uint64_t{digits_in(at + 32)} << 32, equal_to(low, high, '0'),
          equal_to(low, high, '.'), equal_to(low, high, '-'), equal_to(low, high, ',')};
}

inline void copy_vector(uint8_t* to, const uint8_t* from) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), load(from));
}

inline bool matches(const uint8_t* at, const Pattern& pattern) {
  const uint64_t equal = mask_of(_mm256_cmpeq_epi8(load(at), load(pattern.text)));
  return (pattern.mask & ~equal) == 0;
}

// The operations that utf8-inl.h uses.
using Vector = __m256i;

inline Vector zero() { return _mm256_setzero_si256(); }
inline Vector either(Vector one, Vector other) { return _mm256_or_si256(one, other); }
inline Vector both(Vector one, Vector other) { return _mm256_and_si256(one, other); }
inline Vector differing(Vector one, Vector other) { return _mm256_xor_si256(one, other); }
inline Vector all(uint8_t byte) { return _mm256_set1_epi8(static_cast<char>(byte)); }
inline Vector less(Vector vector, uint8_t byte) { return _mm256_subs_epu8(vector, all(byte)); }
inline Vector high_halves(Vector vector) { return both(_mm256_srli_epi16(vector, 4), all(0x0F)); }
inline bool is_zero(Vector vector) { return _mm256_testz_si256(vector, vector); }
inline bool is_ascii(Vector vector) { return _mm256_movemask_epi8(vector) == 0; }

// Looks up each index in a table of 16 bytes.
inline Vector looked_up(const uint8_t* table, Vector indexes) {
  const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(half), indexes);
}

// Replaces each byte of a vector by the byte kBytes before it.
template <int kBytes>
inline Vector shifted(Vector before, Vector vector) {
  return _mm256_alignr_epi8(vector, _mm256_permute2x128_si256(before, vector, 0x21), 16 - kBytes);
}

}  // namespace streamlic::avx2

STREAMLIC_END_TARGET_REGION
