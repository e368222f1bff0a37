// Validates UTF-8 in vectors.
#pragma once

#include "core/reader/generic/isa-inl.h"

namespace streamlic::STREAMLIC_ISA {

// The errors of two adjacent bytes, a bit for each. Three tables have the errors that are possible with the
// upper half of the first byte, its lower half, and the upper half of the second byte. An error in all three
// is real. (J. Keiser, D. Lemire: Validating UTF-8 In Less Than One Instruction Per Byte, 2021.)
enum : uint8_t {
  kTooShort = 1 << 0,   // a lead without its tail
  kTooLong = 1 << 1,    // a tail after ASCII
  kOverlong3 = 1 << 2,  // E0 80..9F
  kTooLarge = 1 << 3,   // F4 90 and more
  kSurrogate = 1 << 4,  // ED A0..BF
  kOverlong2 = 1 << 5,  // C0, C1
  kTooLarge5 = 1 << 6,  // F5 and more, with a tail of 80..8F
  kOverlong4 = 1 << 6,  // F0 80..8F
  kTwoTails = 1 << 7,   // valid only as the third or fourth byte
};
constexpr uint8_t kAny = kTooShort | kTooLong | kTwoTails;
// clang-format off
constexpr uint8_t kFirstHigh[16] = {
    kTooLong,  kTooLong,  kTooLong,  kTooLong,  kTooLong, kTooLong, kTooLong, kTooLong,
    kTwoTails, kTwoTails, kTwoTails, kTwoTails, kTooShort | kOverlong2, kTooShort,
    kTooShort | kOverlong3 | kSurrogate, kTooShort | kTooLarge | kTooLarge5 | kOverlong4};
constexpr uint8_t kFirstLow[16] = {
    kAny | kOverlong3 | kOverlong2 | kOverlong4,
    kAny | kOverlong2,
    kAny,
    kAny,
    kAny | kTooLarge,
    kAny | kTooLarge | kTooLarge5,
    kAny | kTooLarge | kTooLarge5,
    kAny | kTooLarge | kTooLarge5,
    kAny | kTooLarge | kTooLarge5,
    kAny | kTooLarge | kTooLarge5,
    kAny | kTooLarge | kTooLarge5,
    kAny | kTooLarge | kTooLarge5,
    kAny | kTooLarge | kTooLarge5,
    kAny | kTooLarge | kTooLarge5 | kSurrogate,
    kAny | kTooLarge | kTooLarge5,
    kAny | kTooLarge | kTooLarge5};
constexpr uint8_t kTail = kTooLong | kOverlong2 | kTwoTails;
constexpr uint8_t kSecondHigh[16] = {
    kTooShort, kTooShort, kTooShort, kTooShort, kTooShort, kTooShort, kTooShort, kTooShort,
    kTail | kOverlong3 | kTooLarge5 | kOverlong4, kTail | kOverlong3 | kTooLarge,
    kTail | kSurrogate | kTooLarge, kTail | kSurrogate | kTooLarge,
    kTooShort, kTooShort, kTooShort, kTooShort};
// clang-format on

// The errors in a vector. `before` is the vector before it.
STREAMLIC_ALWAYS_INLINE Vector errors(Vector before, Vector vector) {
  const Vector previous = shifted<1>(before, vector);
  const Vector wrong = both(both(looked_up(kFirstHigh, high_halves(previous)),
                                 looked_up(kFirstLow, both(previous, all(0x0F)))),
                            looked_up(kSecondHigh, high_halves(vector)));
  // A third or fourth byte must be a tail: there, two tails are valid.
  const Vector third = less(shifted<2>(before, vector), 0xE0 - 0x80);
  const Vector fourth = less(shifted<3>(before, vector), 0xF0 - 0x80);
  return differing(both(either(third, fourth), all(0x80)), wrong);
}

// Whether kVectors vectors are ASCII.
template <size_t kVectors>
STREAMLIC_ALWAYS_INLINE bool are_ascii(const uint8_t* at) {
  Vector bits = load(at);
  for (size_t i = 1; i < kVectors; ++i) bits = either(bits, load(at + i * kVectorBytes));
  return is_ascii(bits);
}

inline bool is_tail(uint8_t byte) { return (byte & 0xC0) == 0x80; }

// Whether the last sequence before `at` is incomplete.
inline bool is_cut(const uint8_t* at) { return at[-1] >= 0xC0 || at[-2] >= 0xE0 || at[-3] >= 0xF0; }

// The only function here that is not inline: one file for each instruction set includes it.
// NOLINTNEXTLINE(misc-definitions-in-headers)
const uint8_t* after_valid_utf8(const uint8_t* at, const uint8_t* end) {
  constexpr size_t kStepVectors = 64 / kVectorBytes;
  Vector before = zero();
  bool is_due = false;
  const uint8_t* const begin = at;
  for (; end - at >= 64; at += 64) {
    if (!is_due && are_ascii<kStepVectors>(at)) {
      before = zero();
      while (end - at >= 64 + 128 && are_ascii<2 * kStepVectors>(at + 64)) at += 128;
      continue;
    }
    Vector wrong = zero();
    Vector last = before;
    for (size_t i = 0; i < kStepVectors; ++i) {
      const Vector vector = load(at + i * kVectorBytes);
      wrong = either(wrong, errors(last, vector));
      last = vector;
    }
    if (!is_zero(wrong)) break;
    before = last;
    is_due = is_cut(at + 64);
  }
  // If the last sequence is incomplete, go back to where it begins.
  for (int length = 1; length <= 3 && at - begin >= length && at[-length] >= 0x80; ++length) {
    const uint8_t lead = at[-length];
    if (is_tail(lead)) continue;
    const int whole = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (whole > length) at -= length;
    break;
  }
  return at;
}

}  // namespace streamlic::STREAMLIC_ISA
