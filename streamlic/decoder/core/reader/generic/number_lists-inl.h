// Skips the numbers of an array many at a time: bits for each of 64 bytes say which are digits, points and
// so on, and a few operations on them check all numbers between.
#pragma once

#include "core/reader/generic/lexer-inl.h"

namespace streamlic::STREAMLIC_ISA {

// From where a number of an array begins: skips numbers that are valid, with the commas after them. Stops at
// white space, at a number with an exponent, at an error, or at the bracket after the last number.
STREAMLIC_NOINLINE inline const uint8_t* after_numbers(const uint8_t* at, const uint8_t* end) {
  while (end - at > 64) {
    const NumberBits bits = number_bits(at);
    const uint64_t others = ~(bits.digits | bits.points | bits.minuses | bits.commas);
    // Looks at the bytes up to the first that is part of no plain number, else up to the last comma.
    const unsigned other = others ? static_cast<unsigned>(__builtin_ctzll(others)) : 64;
    const bool is_last = other < 64 && at[other] == ']';
    const uint64_t before = other < 64 ? (uint64_t{1} << other) - 1 : ~uint64_t{0};
    const uint64_t commas = bits.commas & before;
    if (!other || (!is_last && !commas)) return at;
    const unsigned size = is_last ? other : 64 - static_cast<unsigned>(__builtin_clzll(commas));
    // With the comma or the bracket, but not what begins after it.
    const uint64_t seen = size < 64 ? (uint64_t{1} << size) - 1 : ~uint64_t{0};
    const uint64_t digits = bits.digits & seen, points = bits.points & seen;
    const uint64_t minuses = bits.minuses & seen, ends = commas & seen;
    const uint64_t begins = (ends << 1 | 1) & seen;
    const uint64_t first_digits = (begins & ~minuses) | minuses << 1;
    const uint64_t after_fractions = (points << 1) + digits;  // A sum carries past the digits.
    uint64_t wrong = minuses & ~begins;
    wrong |= first_digits & ~digits;
    wrong |= (first_digits & bits.zeros) << 1 & digits;
    wrong |= (points | ends) & ~(digits << 1);
    wrong |= points << 1 & ~digits;
    wrong |= after_fractions & ~digits & points;
    if (unlikely(wrong || (is_last && !(digits >> (size - 1) & 1)))) return at;
    at += size;
    if (is_last) return at;
  }
  return at;
}

}  // namespace streamlic::STREAMLIC_ISA
