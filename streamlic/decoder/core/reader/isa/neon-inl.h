// NEON, which every AArch64 processor has: vectors of 16 bytes. scalar-inl.h says what each function does.
#pragma once

#include "core/reader/generic/dependencies.h"

#define STREAMLIC_ISA neon

namespace streamlic::neon {

constexpr size_t kVectorBytes = 16;

// Sets each byte that is a string terminator to all ones.
inline uint8x16_t terminators_in_vector(const uint8_t* at) {
  const uint8x16_t vector = vld1q_u8(at);
  const uint8x16_t quotes = vceqq_u8(vector, vdupq_n_u8('"'));
  const uint8x16_t slashes = vceqq_u8(vector, vdupq_n_u8('\\'));
  const uint8x16_t controls = vcltq_u8(vector, vdupq_n_u8(0x20));
  return vorrq_u8(vorrq_u8(quotes, slashes), controls);
}

// NEON has no movemask. For one vector, each pair of bytes is narrowed to one: four bits for each byte.
inline unsigned first_terminator(const uint8_t* at) {
  const uint8x16_t found = terminators_in_vector(at);
  const uint8x8_t nibbles = vshrn_n_u16(vreinterpretq_u16_u8(found), 4);
  const uint64_t bits = vget_lane_u64(vreinterpret_u64_u8(nibbles), 0);
  return bits ? static_cast<unsigned>(__builtin_ctzll(bits)) / 4 : kVectorBytes;
}

constexpr uint8_t kBits[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};

// For four vectors, each byte keeps one bit, by its place among eight; adding neighbours three times
// gathers the bits of eight bytes in one. `found` sets each byte of a vector that counts to all ones.
template <class Found>
inline uint64_t bits_of(const uint8_t* at, Found found) {
  const uint8x16_t bits = vld1q_u8(kBits);
  const uint8x16_t first = vpaddq_u8(vandq_u8(found(at), bits), vandq_u8(found(at + 16), bits));
  const uint8x16_t second =
      vpaddq_u8(vandq_u8(found(at + 32), bits), vandq_u8(found(at + 48), bits));
  const uint8x16_t sums = vpaddq_u8(first, second);
  return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(sums, sums)), 0);
}

inline uint64_t terminators_of(const uint8_t* at) { return bits_of(at, terminators_in_vector); }

inline uint8x16_t digits_in_vector(const uint8_t* at) {
  return vcltq_u8(vsubq_u8(vld1q_u8(at), vdupq_n_u8('0')), vdupq_n_u8(10));
}

inline uint32_t digits_in(const uint8_t* at) {
  const uint8x16_t bits = vld1q_u8(kBits);
  const uint8x16_t pairs =
      vpaddq_u8(vandq_u8(digits_in_vector(at), bits), vandq_u8(digits_in_vector(at + 16), bits));
  const uint8x16_t fours = vpaddq_u8(pairs, pairs);
  return vgetq_lane_u32(vreinterpretq_u32_u8(vpaddq_u8(fours, fours)), 0);
}

struct NumberBits {
  uint64_t digits, zeros, points, minuses, commas;
};
inline uint64_t equal_to(const uint8_t* at, char byte) {
  const uint8x16_t sought = vdupq_n_u8(static_cast<uint8_t>(byte));
  return bits_of(at, [sought](const uint8_t* one) { return vceqq_u8(vld1q_u8(one), sought); });
}
inline NumberBits number_bits(const uint8_t* at) {
  return {bits_of(at, digits_in_vector), equal_to(at, '0'), equal_to(at, '.'), equal_to(at, '-'),
          equal_to(at, ',')};
}

inline void copy_vector(uint8_t* to, const uint8_t* from) { vst1q_u8(to, vld1q_u8(from)); }

inline bool matches(const uint8_t* at, const Pattern& pattern) {
  static constexpr uint8_t kIndexes[32] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                           11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                                           22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
  const uint8x16_t size = vdupq_n_u8(static_cast<uint8_t>(pattern.size));
  const uint8x16_t low =
      vbicq_u8(vcltq_u8(vld1q_u8(kIndexes), size), vceqq_u8(vld1q_u8(at), vld1q_u8(pattern.text)));
  const uint8x16_t high = vbicq_u8(vcltq_u8(vld1q_u8(kIndexes + 16), size),
                                   vceqq_u8(vld1q_u8(at + 16), vld1q_u8(pattern.text + 16)));
  return pattern.size && vmaxvq_u8(vorrq_u8(low, high)) == 0;
}

// The operations that utf8-inl.h uses.
using Vector = uint8x16_t;

inline Vector load(const uint8_t* at) { return vld1q_u8(at); }
inline Vector zero() { return vdupq_n_u8(0); }
inline Vector either(Vector one, Vector other) { return vorrq_u8(one, other); }
inline Vector both(Vector one, Vector other) { return vandq_u8(one, other); }
inline Vector differing(Vector one, Vector other) { return veorq_u8(one, other); }
inline Vector all(uint8_t byte) { return vdupq_n_u8(byte); }
inline Vector less(Vector vector, uint8_t byte) { return vqsubq_u8(vector, all(byte)); }
inline Vector high_halves(Vector vector) { return vshrq_n_u8(vector, 4); }
inline bool is_zero(Vector vector) { return vmaxvq_u8(vector) == 0; }
inline bool is_ascii(Vector vector) { return vmaxvq_u8(vector) < 0x80; }

// Looks up each index in a table of 16 bytes.
inline Vector looked_up(const uint8_t* table, Vector indexes) {
  return vqtbl1q_u8(vld1q_u8(table), indexes);
}

// Replaces each byte of a vector by the byte kBytes before it.
template <int kBytes>
inline Vector shifted(Vector before, Vector vector) {
  return vextq_u8(before, vector, 16 - kBytes);
}

}  // namespace streamlic::neon
