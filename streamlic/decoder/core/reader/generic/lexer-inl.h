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
  bool has_escapes = false;  // in a string since this was reset

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

  // The same, from a string terminator on.
  STREAMLIC_NOINLINE const uint8_t* string_slow(const uint8_t* at) {
    while (true) {
      if (at == end()) return at_end();
      if (*at == '"') return at + 1;
      if (*at != '\\') return refused();
      has_escapes = true;
      do {  // Escapes often come in a row.
        at = escape(at);
        if (!at) return nullptr;
      } while (at < end() && *at == '\\');
      at = index.terminator(at);
    }
  }

  const uint8_t* true_(const uint8_t* at) { return literal(at, "true", 4); }
  const uint8_t* false_(const uint8_t* at) { return literal(at, "false", 5); }
  const uint8_t* null_(const uint8_t* at) { return literal(at, "null", 4); }

  // A number is complete only if a byte follows it.
  const uint8_t* number(const uint8_t* at) {
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

 private:
  // From the backslash to after the escape.
  STREAMLIC_ALWAYS_INLINE const uint8_t* escape(const uint8_t* at) {
    if (end() - at < 6) return last_escape(at);
    if (at[1] == 'u') return code_unit(at + 2) < 0 ? refused() : at + 6;
    return kEscapes[at[1]] ? at + 2 : refused();
  }

  STREAMLIC_NOINLINE const uint8_t* last_escape(const uint8_t* at) {
    if (end() - at < 2) return at_end();
    if (kEscapes[at[1]]) return at + 2;
    if (at[1] != 'u') return refused();
    for (at += 2; at < end(); ++at) {
      if (kHexDigits[*at] > 15) return refused();
    }
    return at_end();
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
