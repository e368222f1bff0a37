// Reads the tokens of JSON. Each method takes a pointer to where a token begins and returns where it ends,
// or null; then `stop` says why.
#pragma once

#include "core/reader/generic/string_index-inl.h"

namespace streamlic::STREAMLIC_ISA {

inline bool is_digit(uint8_t byte) { return static_cast<uint8_t>(byte - '0') < 10; }
inline bool begins_number(uint8_t byte) { return is_digit(byte) || byte == '-'; }

// Eight bytes, the first one lowest. Digits become 0 to 9, all other bytes more.
STREAMLIC_ALWAYS_INLINE uint64_t eight_at(const uint8_t* at) {
  uint64_t word;
  std::memcpy(&word, at, 8);
  return little_endian(word) ^ 0x3030303030303030u;
}

// How many of the bytes are digits, before the first other byte.
STREAMLIC_ALWAYS_INLINE unsigned digits_of(uint64_t eight) {
  const uint64_t others = ((eight + 0x7676767676767676u) | eight) & 0x8080808080808080u;
  return likely(others) ? static_cast<unsigned>(__builtin_ctzll(others)) / 8 : 8;
}

class Lexer {
 public:
  StringIndex index;
  Stop stop = Stop::None;
  bool has_unpaired =
      false;  // an unpaired surrogate escape in a skipped string, since it was reset

  const uint8_t* end() const { return index.end(); }

  const uint8_t* at_end() {
    stop = Stop::AtEnd;
    return nullptr;
  }
  const uint8_t* refused() {
    stop = Stop::Refused;
    return nullptr;
  }

  // Skips white space.
  STREAMLIC_NOINLINE const uint8_t* after_space(const uint8_t* at) const {
    while (at < end() && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) ++at;
    return at;
  }
  // The same, fast if there is probably no white space.
  const uint8_t* next(const uint8_t* at) const {
    return likely(at < end() && *at > ' ') ? at : after_space(at);
  }

  // From after the opening quote, or anywhere in the string, to after the closing quote.
  STREAMLIC_ALWAYS_INLINE const uint8_t* string_rest(const uint8_t* at) {
    at = index.terminator(at);
    return likely(at < end() && *at == '"') ? at + 1 : string_slow(at);
  }

  // The same, from the string's first terminator on. No branch depends on the kind of an escape, which would
  // be hard to predict.
  STREAMLIC_NOINLINE const uint8_t* string_slow(const uint8_t* at) {
    int unpaired = 0;
    const uint8_t* after_high = nullptr;  // after a high surrogate
    while (true) {
      if (at == end()) return at_end();
      if (*at == '"') {
        has_unpaired |= unpaired != 0;
        return at + 1;
      }
      if (*at != '\\') return refused();
      if (unlikely(end() - at < 6)) {
        at = last_escape(at);
        if (!at) return nullptr;
      } else {
        const unsigned size = kEscapeSizes[at[1]];
        const int unit = code_unit(at + 2);
        const int is_unit = size == 6;
        if (unlikely(!size || (is_unit & (unit < 0)))) return refused();
        const int is_high = is_unit & is_high_surrogate(static_cast<unsigned>(unit));
        const int is_low = is_unit & is_low_surrogate(static_cast<unsigned>(unit));
        const int is_paired = is_low & (at == after_high);
        unpaired += is_high + is_low - 2 * is_paired;
        at += size;
        after_high = is_high ? at : nullptr;
      }
      at = index.terminator(at);
    }
  }

  // From the backslash to after an escape with fewer than six bytes to the end of the text.
  STREAMLIC_NOINLINE const uint8_t* last_escape(const uint8_t* at) {
    if (end() - at < 2) return at_end();
    if (kEscapes[at[1]]) return at + 2;
    if (at[1] != 'u') return refused();
    for (at += 2; at < end(); ++at) {
      if (kHexDigits[*at] > 15) return refused();
    }
    return at_end();
  }

  const uint8_t* true_(const uint8_t* at) { return literal(at, "true", 4); }
  const uint8_t* false_(const uint8_t* at) { return literal(at, "false", 5); }
  const uint8_t* null_(const uint8_t* at) { return literal(at, "null", 4); }

  // A number is complete only if a byte follows it. Nearly all have neither an exponent nor 32 digits: their
  // digits are found at once, because branches on the number of digits are hard to predict.
  STREAMLIC_NOINLINE const uint8_t* number(const uint8_t* at) {
    if (unlikely(end() - at < 34)) return any_number(at);
    const uint8_t* const first = at + (*at == '-');
    const uint64_t others = ~uint64_t{digits_in(first)};
    const auto whole = static_cast<unsigned>(__builtin_ctzll(others));
    const uint8_t* value_end = first + whole;
    if (*value_end == '.') {
      const auto fraction = static_cast<unsigned>(__builtin_ctzll(others >> whole >> 1));
      if (unlikely(!fraction)) return any_number(at);
      value_end += 1 + fraction;
    }
    const bool is_plain = whole - 1 < 31 && (*first != '0' || whole == 1);
    if (unlikely(!is_plain || value_end - first > 31 || (*value_end | 0x20) == 'e')) {
      return any_number(at);
    }
    return value_end;
  }

 private:
  STREAMLIC_NOINLINE const uint8_t* any_number(const uint8_t* at) {
    if (*at == '-') ++at;
    if (at == end()) return at_end();
    if (*at == '0') {
      ++at;
    } else if (!(at = digits(at))) {
      return nullptr;
    }
    if (at < end() && *at == '.' && !(at = digits(at + 1))) return nullptr;
    if (at < end() && (*at | 0x20) == 'e') {
      ++at;
      if (at < end() && (*at == '+' || *at == '-')) ++at;
      if (!(at = digits(at))) return nullptr;
    }
    return at < end() ? at : at_end();
  }

  const uint8_t* literal(const uint8_t* at, const char* word, size_t size) {
    for (size_t i = 0; i < size; ++i) {
      if (at + i == end()) return at_end();
      if (at[i] != static_cast<uint8_t>(word[i])) return refused();
    }
    return at + size;
  }

  // One digit or more. It reads eight at once, because branches on their number are hard to predict.
  const uint8_t* digits(const uint8_t* at) {
    if (at == end()) return at_end();
    if (!is_digit(*at)) return refused();
    while (bytes_between(at, end()) >= 8) {
      const unsigned count = digits_of(eight_at(at));
      at += count;
      if (count < 8) return at;
    }
    while (at < end() && is_digit(*at)) ++at;
    return at;
  }
};

}  // namespace streamlic::STREAMLIC_ISA
