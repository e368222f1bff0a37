// Reads a value into a column. Each method takes a pointer to where the value begins and returns where it
// ends, or null; a value that does not fit the column sets `is_misfit`.
#pragma once

#include "core/reader/generic/lexer-inl.h"
#include "core/reader/generic/skipper-inl.h"

namespace streamlic::STREAMLIC_ISA {

constexpr size_t kShort = 32;   // at least this many bytes are copied of each text
constexpr size_t kCopied = 64;  // a longer text is copied in pieces of this many

// Copies up to kCopied bytes more than `size`.
STREAMLIC_ALWAYS_INLINE void copy_text(uint8_t* out, const uint8_t* text, size_t size) {
  // Copies the same amount for every short text: a branch on its length would be hard to predict.
  for (size_t i = 0; i < kShort; i += kVectorBytes) copy_vector(out + i, text + i);
  for (size_t i = kShort; unlikely(i < size); i += kCopied) {
    for (size_t j = 0; j < kCopied; j += kVectorBytes) copy_vector(out + i + j, text + i + j);
  }
}

// Puts a text. `readable` bytes after its end may be read.
STREAMLIC_ALWAYS_INLINE void put_text(ColumnBuilder& column, const Row& row, const uint8_t* text,
                                      size_t size, size_t readable) {
  uint8_t* const out = column.add_text(row, size);
  if (likely(readable >= kCopied)) {
    copy_text(out, text, size);
  } else {
    std::memcpy(out, text, size);
  }
}

constexpr size_t kMostUnescaped = 4;  // bytes of one character

// Reads the digits at `at`, at most eight, without a loop. Eight bytes must be readable.
struct Digits {
  uint64_t value;
  unsigned count;
};
STREAMLIC_ALWAYS_INLINE Digits digits_at(const uint8_t* at) {
  uint64_t word = eight_at(at);
  const unsigned count = digits_of(word);
  if (unlikely(count == 0)) return {0, 0};
  word <<= 64 - 8 * count;  // Zeros before them change nothing.
  word = word * 10 + (word >> 8);
  word = ((word & 0x000000FF000000FFu) * 0x000F424000000064u +
          ((word >> 16) & 0x000000FF000000FFu) * 0x0000271000000001u) >>
         32;
  return {word & 0xFFFFFFFFu, count};
}

inline bool may_follow_number(uint8_t byte) { return byte == ',' || byte == '}'; }

class ValueReader {
 public:
  Lexer lexer;
  Skipper skipper;
  bool is_misfit = false;  // The value just read did not fit.
  std::string scratch;

  const uint8_t* skip_value(const uint8_t* at, int depth) {
    return skipper.skip_value(lexer, at, depth);
  }

  // A value of another type: null, or a misfit, which is noted by the caller that knows its path.
  STREAMLIC_NOINLINE const uint8_t* other_value(const uint8_t* at, int depth) {
    if (*at == 'n') return lexer.null_(at);
    at = skip_value(at, depth);
    is_misfit = true;
    return at;
  }

  STREAMLIC_ALWAYS_INLINE const uint8_t* string_value(const uint8_t* at, ColumnBuilder& column,
                                                      const Row& row) {
    const uint8_t* const begin = at + 1;
    const uint8_t* const terminator = lexer.index.terminator(begin);
    if (unlikely(terminator >= lexer.index.padded_end() || *terminator != '"')) {
      return unusual_string(begin, terminator, column, row);
    }
    const size_t size = bytes_between(begin, terminator);
    copy_text(column.add_text(row, size), begin, size);
    return terminator + 1;
  }

  // A string with escapes, or near the end of the block.
  STREAMLIC_NOINLINE const uint8_t* unusual_string(const uint8_t* begin, const uint8_t* terminator,
                                                   ColumnBuilder& column, const Row& row) {
    if (terminator == lexer.end()) return lexer.at_end();
    if (*terminator == '"') {
      column.put_text(row, begin, bytes_between(begin, terminator));
      return terminator + 1;
    }
    uint8_t* out = column.begin_text(row);
    const uint8_t* at = begin;
    while (true) {  // Each run up to an escape, and the escape, is checked and written at once.
      const size_t size = bytes_between(at, terminator);
      out = column.with_room(out, size + kMostUnescaped);
      if (likely(bytes_between(terminator, lexer.end()) >= kCopied)) {
        copy_text(out, at, size);
      } else {
        std::memcpy(out, at, size);
      }
      out += size;
      at = terminator;
      if (unlikely(at == lexer.end())) return lexer.at_end();
      if (*at == '"') break;
      if (unlikely(*at != '\\')) return lexer.refused();
      at = unescaped(at, &out);
      if (unlikely(!at)) return nullptr;
      terminator = lexer.index.terminator(at);
    }
    column.end_text(row, out);
    return at + 1;
  }

  // Unescapes the escape at `at`, if it is valid. An unpaired surrogate before the end of the text may be a
  // cut pair: the text is read again then.
  STREAMLIC_ALWAYS_INLINE const uint8_t* unescaped(const uint8_t* at, uint8_t** out) {
    const uint8_t* const end = lexer.end();
    if (unlikely(end - at < 6)) {
      const uint8_t* const after = lexer.last_escape(at);
      if (after) *(*out)++ = kEscapes[at[1]];
      return after;
    }
    if (at[1] != 'u') {
      const uint8_t character = kEscapes[at[1]];
      if (unlikely(!character)) return lexer.refused();
      *(*out)++ = character;
      return at + 2;
    }
    if (unlikely(code_unit(at + 2) < 0)) return lexer.refused();
    unescape_one(&at, end, out);
    return at;
  }

  // A number in a string column: an integer becomes its digits.
  STREAMLIC_NOINLINE const uint8_t* digits_value(const uint8_t* at, ColumnBuilder& column,
                                                 const Row& row) {
    const uint8_t* const begin = at;
    at = lexer.number(at);
    if (unlikely(!at)) return nullptr;
    const size_t size = bytes_between(begin, at);
    if (!is_integer(begin, size)) {
      is_misfit = true;
    } else if (size == 2 && begin[0] == '-' && begin[1] == '0') {
      column.put_text(row, "0", 1);
    } else {
      column.put_text(row, begin, size);
    }
    return at;
  }

  STREAMLIC_ALWAYS_INLINE const uint8_t* int64_value(const uint8_t* at, ColumnBuilder& column,
                                                     const Row& row) {
    static constexpr uint64_t kPowers[] = {1,       10,        100,        1'000,      10'000,
                                           100'000, 1'000'000, 10'000'000, 100'000'000};
    if (unlikely(lexer.end() - at < 24)) return any_int64(at, column, row);
    const bool is_negative = *at == '-';
    const uint8_t* const first = at + is_negative;
    Digits digits = digits_at(first);
    if (unlikely(digits.count == 8)) {
      const Digits more = digits_at(first + 8);
      digits = {digits.value * kPowers[more.count] + more.value, 8 + more.count};
    }
    const uint8_t* const value_end = first + digits.count;
    const bool is_plain = may_follow_number(*value_end) && (*first != '0' || digits.count == 1);
    if (unlikely(!is_plain || !digits.count)) return any_int64(at, column, row);
    const auto value = static_cast<int64_t>(digits.value);
    column.put_int64(row, is_negative ? -value : value);
    return value_end;
  }

  STREAMLIC_NOINLINE const uint8_t* any_int64(const uint8_t* begin, ColumnBuilder& column,
                                              const Row& row) {
    const uint8_t* const at = lexer.number(begin);
    if (unlikely(!at)) return nullptr;
    int64_t exact;
    if (to_int64(begin, bytes_between(begin, at), &exact)) {
      column.put_int64(row, exact);
    } else {
      is_misfit = true;
    }
    return at;
  }

  // Few digits and a short fraction: one exact division rounds correctly (Clinger's fast path).
  STREAMLIC_NOINLINE const uint8_t* double_value(const uint8_t* at, ColumnBuilder& column,
                                                 const Row& row) {
    static constexpr uint64_t kPowers[] = {1,      10,      100,       1000,
                                           10'000, 100'000, 1'000'000, 10'000'000};
    if (unlikely(lexer.end() - at < 32)) return any_double(at, column, row);
    const bool is_negative = *at == '-';
    const uint8_t* const first = at + is_negative;
    const Digits whole = digits_at(first);
    const uint8_t* value_end = first + whole.count;
    Digits fraction{0, 0};
    if (likely(*value_end == '.')) {
      fraction = digits_at(value_end + 1);
      value_end += 1 + fraction.count;
      if (unlikely(fraction.count == 0 || fraction.count > 7)) return any_double(at, column, row);
    }
    const uint64_t power = kPowers[fraction.count];
    const uint64_t digits = whole.value * power + fraction.value;
    const bool is_plain = may_follow_number(*value_end) && (*first != '0' || whole.count == 1);
    // The sign of zero needs the slow path.
    if (unlikely(!is_plain || !whole.count || !digits || digits >> 53)) {
      return any_double(at, column, row);
    }
    const auto value = static_cast<double>(static_cast<int64_t>(digits)) /
                       static_cast<double>(static_cast<int64_t>(power));
    column.put_double(row, is_negative ? -value : value);
    return value_end;
  }

  STREAMLIC_NOINLINE const uint8_t* any_double(const uint8_t* begin, ColumnBuilder& column,
                                               const Row& row) {
    const uint8_t* const at = lexer.number(begin);
    if (unlikely(!at)) return nullptr;
    double value;
    if (to_double(begin, bytes_between(begin, at), &value)) {
      column.put_double(row, value);
    } else {
      is_misfit = true;
    }
    return at;
  }

  // Null unless the bytes are `true` or `false`. No branch depends on which of the two.
  STREAMLIC_ALWAYS_INLINE const uint8_t* bool_value(const uint8_t* at, ColumnBuilder& column,
                                                    const Row& row) {
    if (unlikely(lexer.end() - at < 5)) return nullptr;
    uint32_t word, words[2];
    std::memcpy(&word, at, 4);
    std::memcpy(words, "falstrue", 8);
    const unsigned is_true = *at == 't';
    if (unlikely(word != words[is_true] || at[4 - is_true] != 'e')) return nullptr;
    column.put_bool(row, is_true);
    return at + 5 - is_true;
  }

  STREAMLIC_NOINLINE const uint8_t* timestamp_value(const uint8_t* at, ColumnBuilder& column,
                                                    const Row& row) {
    const uint8_t* text = at + 1;
    at = lexer.index.terminator(text);
    if (unlikely(at == lexer.end())) return lexer.at_end();
    size_t size = bytes_between(text, at);
    if (likely(*at == '"')) {
      ++at;
    } else {
      at = lexer.string_rest(at);
      if (unlikely(!at)) return nullptr;
      scratch.resize(bytes_between(text, at) - 1);
      size = unescape(text, scratch.size(), reinterpret_cast<uint8_t*>(scratch.data()));
      text = reinterpret_cast<const uint8_t*>(scratch.data());
    }
    int64_t microseconds;
    if (likely(to_timestamp(text, size, &microseconds))) {
      column.put_int64(row, microseconds);
    } else if (size) {  // An empty text is null.
      is_misfit = true;
    }
    return at;
  }

  STREAMLIC_NOINLINE const uint8_t* json_value(const uint8_t* at, ColumnBuilder& column,
                                               const Row& row, int depth) {
    const uint8_t* const begin = at;
    const bool had_escapes = lexer.has_unpaired;
    lexer.has_unpaired = false;
    at = skip_value(at, depth);
    if (unlikely(!at)) return nullptr;
    const size_t size = bytes_between(begin, at);
    if (unlikely(lexer.has_unpaired || *begin == 'n')) {
      put_json(column, row, begin, size, lexer.has_unpaired);
    } else {
      put_text(column, row, begin, size, bytes_between(at, lexer.end()));
    }
    lexer.has_unpaired |= had_escapes;
    return at;
  }
};

}  // namespace streamlic::STREAMLIC_ISA
