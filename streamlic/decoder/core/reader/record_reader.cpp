#include "core/reader/record_reader.h"

#include <algorithm>
#include <cassert>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "core/json/numbers.h"
#include "core/json/text.h"
#include "core/json/timestamps.h"

// A strip and its stops stay in the nearest cache. A multiple of 64; fuzzing takes less than others.
#ifndef STREAMLIC_STRIP_BYTES
#define STREAMLIC_STRIP_BYTES 8192
#endif

namespace streamlic {

void put_json(Column& column, const Row& row, const uint8_t* text, size_t size, bool has_escapes) {
  if (size == 4 && std::memcmp(text, "null", 4) == 0) return;
  uint8_t* const out = column.add_text(row, size);
  std::memcpy(out, text, size);
  if (has_escapes) mend_surrogates(out, size);
}

namespace plain {

constexpr size_t kWidth = 8;

// The bytes below 0x20, and those that are a quote or a backslash, found eight at a time.
inline unsigned first_stop(const uint8_t* at) {
  uint64_t word;
  std::memcpy(&word, at, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  word = __builtin_bswap64(word);
#endif
  constexpr uint64_t kOnes = 0x0101010101010101u;
  constexpr uint64_t kHigh = 0x8080808080808080u;
  const uint64_t quotes = word ^ (kOnes * '"');
  const uint64_t slashes = word ^ (kOnes * '\\');
  // A borrow may run on to higher bytes only, so that the first one found is a true one.
  const uint64_t found = ((quotes - kOnes) & ~quotes) | ((slashes - kOnes) & ~slashes) |
                         ((word - kOnes * 0x20) & ~word);
  return (found & kHigh) ? static_cast<unsigned>(__builtin_ctzll(found & kHigh)) / 8 : 8;
}
inline uint64_t stops_of(const uint8_t* at) {
  uint64_t stops = 0;
  for (unsigned i = 0; i < 64; ++i) {
    stops |= uint64_t{at[i] < 0x20 || at[i] == '"' || at[i] == '\\'} << i;
  }
  return stops;
}
inline void copy_block(uint8_t* to, const uint8_t* from) { std::memcpy(to, from, kWidth); }
inline bool matches(const uint8_t* at, const Pattern& pattern) {
  return pattern.mask != Pattern::kNever && std::memcmp(at, pattern.text, pattern.size) == 0;
}

#include "core/reader/generic/record_reader-inl.h"

}  // namespace plain

#if defined(__SSE2__)

namespace sse2 {

constexpr size_t kWidth = 16;

inline unsigned mask_of(__m128i bytes) { return static_cast<unsigned>(_mm_movemask_epi8(bytes)); }
inline __m128i load(const uint8_t* at) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
}
inline uint64_t stops_in(const uint8_t* at) {
  const __m128i block = load(at);
  const __m128i quotes = _mm_cmpeq_epi8(block, _mm_set1_epi8('"'));
  const __m128i slashes = _mm_cmpeq_epi8(block, _mm_set1_epi8('\\'));
  const __m128i controls = _mm_cmpeq_epi8(_mm_min_epu8(block, _mm_set1_epi8(0x1F)), block);
  return mask_of(_mm_or_si128(_mm_or_si128(quotes, slashes), controls));
}
inline unsigned first_stop(const uint8_t* at) {
  return static_cast<unsigned>(__builtin_ctzll(stops_in(at) | uint64_t{1} << kWidth));
}
inline uint64_t stops_of(const uint8_t* at) {
  return stops_in(at) | stops_in(at + 16) << 16 | stops_in(at + 32) << 32 | stops_in(at + 48) << 48;
}
inline void copy_block(uint8_t* to, const uint8_t* from) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), load(from));
}
inline bool matches(const uint8_t* at, const Pattern& pattern) {
  const unsigned low = mask_of(_mm_cmpeq_epi8(load(at), load(pattern.text)));
  const unsigned high = mask_of(_mm_cmpeq_epi8(load(at + 16), load(pattern.text + 16)));
  return (pattern.mask & ~uint64_t{low | high << 16}) == 0;
}

#include "core/reader/generic/record_reader-inl.h"

}  // namespace sse2

#endif

#if defined(STREAMLIC_AVX2) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC target("avx2,bmi,bmi2")
#elif defined(STREAMLIC_AVX2)
#pragma clang attribute push(__attribute__((target("avx2,bmi,bmi2"))), \
                             apply_to = function)
#endif

#if defined(STREAMLIC_AVX2)

namespace avx2 {

constexpr size_t kWidth = 32;

inline __m256i load(const uint8_t* at) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
}
inline unsigned mask_of(__m256i bytes) {
  return static_cast<unsigned>(_mm256_movemask_epi8(bytes));
}
inline unsigned stops_in(const uint8_t* at) {
  const __m256i block = load(at);
  // A quote is 0x22, a backslash 0x5C: the lower half tells which of the two a byte may be.
  const __m256i candidates = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 0, '"', 0, 0, 0, 0, 0, 0, 0, 0, 0, '\\', 0, 0, 0));
  const __m256i found = _mm256_cmpeq_epi8(_mm256_shuffle_epi8(candidates, block), block);
  const __m256i controls =
      _mm256_cmpeq_epi8(_mm256_min_epu8(block, _mm256_set1_epi8(0x1F)), block);
  return mask_of(_mm256_or_si256(found, controls));
}
inline unsigned first_stop(const uint8_t* at) { return _tzcnt_u32(stops_in(at)); }
inline uint64_t stops_of(const uint8_t* at) {
  return stops_in(at) | uint64_t{stops_in(at + 32)} << 32;
}
inline void copy_block(uint8_t* to, const uint8_t* from) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), load(from));
}
inline bool matches(const uint8_t* at, const Pattern& pattern) {
  const uint64_t equal = mask_of(_mm256_cmpeq_epi8(load(at), load(pattern.text)));
  return (pattern.mask & ~equal) == 0;
}

#include "core/reader/generic/record_reader-inl.h"

}  // namespace avx2

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif

std::unique_ptr<RecordReader> make_record_reader(Simd simd, const Schema& schema) {
  const Simd wanted = simd < best_simd() ? simd : best_simd();
#if defined(STREAMLIC_AVX2)
  if (wanted == Simd::Avx2) return std::make_unique<avx2::Reader>(schema);
#endif
#if defined(__SSE2__)
  if (wanted == Simd::Sse2) return std::make_unique<sse2::Reader>(schema);
#endif
  (void)wanted;
  return std::make_unique<plain::Reader>(schema);
}

}  // namespace streamlic
