// Skips a value, and checks only that it is valid.
//
// Most objects of a list have the same keys in the same order. Each key is kept as a pattern of bytes,
// with the pattern that followed it last time. If the predicted bytes follow again, they are valid again, and
// one comparison checks the key, its quotes and its colon.
#pragma once

#include "core/reader/generic/number_lists-inl.h"

namespace streamlic::STREAMLIC_ISA {

class Skipper {
 public:
  Skipper() { no_pattern_.next = &no_pattern_; }

  // Skips any value; `depth` brackets may be open within it. One label for each state of the grammar.
  // It reads lexer.end() each time: with that in a variable, registers run out in the loop over members.
  STREAMLIC_NOINLINE const uint8_t* skip_value(Lexer& lexer, const uint8_t* at, int depth) {
    bool scopes[512];  // whether each open bracket is in an object; max_depth is not larger
    const auto most = static_cast<unsigned>(std::max(depth, 0));
    unsigned level = 0;
    bool in_object = true;  // or at the top
    KeyPattern* pattern = &no_pattern_;
    const uint8_t* begin;
    bool is_plain;
  value:
    if (unlikely(at == lexer.end())) return lexer.at_end();
    if (*at == '"') {
      at = lexer.string_rest(at + 1);
    } else if (begins_number(*at)) {
      if (!in_object) {
        at = after_numbers(at, lexer.end());
        if (*at == ']' && at[-1] != ',') goto scope_end;
        if (!begins_number(*at)) {
          at = lexer.next(at);
          goto value;
        }
      }
      at = lexer.number(at);
    } else if (*at == '{' || *at == '[') {
      goto scope_begin;
    } else if (*at == 'f') {
      at = lexer.false_(at);
    } else if (*at == 't') {
      at = lexer.true_(at);
    } else {
      at = *at == 'n' ? lexer.null_(at) : lexer.refused();
    }
    if (unlikely(!at)) return nullptr;
  value_end:
    if (level == 0) return at;
    if (at < lexer.end() && *at == ',') goto comma;
    at = lexer.next(at);
    if (unlikely(at == lexer.end())) return lexer.at_end();
    if (*at == (in_object ? uint8_t{'}'} : uint8_t{']'})) goto scope_end;
    if (*at != ',') return lexer.refused();
  comma:
    begin = at[-1] == '"' ? at - 1 : at;
    if (in_object && is_predicted(lexer, begin, &pattern)) {
      at = begin;
      goto predicted_key;
    }
    at = lexer.next(at + 1);
    if (!in_object) goto value;
  key:
    if (unlikely(at == lexer.end())) return lexer.at_end();
    if (unlikely(*at != '"')) return lexer.refused();
    at = lexer.index.terminator(at + 1);
    is_plain = at < lexer.end() && *at == '"';
    if (!(at = is_plain ? at + 1 : lexer.string_slow(at))) return nullptr;
    at = lexer.next(at);
    if (unlikely(at == lexer.end())) return lexer.at_end();
    if (*at != ':') return lexer.refused();
    at = lexer.next(at + 1);
    if (is_plain) pattern = remember(begin, at, lexer.end(), pattern);
    goto value;
  scope_begin:
    if (unlikely(level == most)) return lexer.refused();
    scopes[level++] = in_object;
    in_object = *at == '{';
    if (in_object) goto object_begin;
    at = lexer.next(at + 1);
    if (unlikely(at == lexer.end())) return lexer.at_end();
    if (*at == ']') goto scope_end;
    goto value;
  object_begin:
    begin = at;
    if (is_predicted(lexer, at, &pattern)) goto predicted_key;
    at = lexer.next(at + 1);
    if (unlikely(at == lexer.end())) return lexer.at_end();
    if (*at != '}') goto key;
  scope_end:
    ++at;
    if (in_object && !scopes[level - 1] && lexer.end() - at > 1 && at[0] == ',' && at[1] == '{') {
      ++at;  // The next object of an array: the open brackets stay the same.
      goto object_begin;
    }
    in_object = scopes[--level];
    goto value_end;
  predicted_key:  // It is padded: the text does not end within the key.
    at += pattern->size;
    if (pattern->is_before_string) {
      at = lexer.index.terminator_in_block(at);
      if (is_predicted(lexer, at, &pattern)) goto predicted_key;
      if (likely(at < lexer.index.padded_end() && *at == '"')) {
        if (*++at == '}') goto scope_end;
        goto value_end;
      }
      at = lexer.string_rest(at);
      if (!at) return nullptr;
      goto value_end;
    }
    if (is_digit(*at)) {
      const unsigned count = at[1] == ',' ? 1 : digits_of(eight_at(at));
      if (likely(count == 1 || *at != '0')) {
        if (at[count] == ',') {
          at += count;
          if (is_predicted(lexer, at, &pattern)) goto predicted_key;
          goto comma;
        }
        if (at[count] == '}') {
          at += count;
          goto scope_end;
        }
      }
    }
    if (*at == '{' || *at == '[') goto scope_begin;
    at = lexer.next(at);  // There may be more white space than last time.
    goto value;
  }

 private:
  // The bytes before a member's value: an opening brace or a comma, the key, the colon; with the closing
  // quote of a string before the comma, and the opening one of a string after the colon.
  struct alignas(64) KeyPattern : Pattern {
    bool is_before_string = false;
    KeyPattern* next = nullptr;  // the pattern that followed last time
  };
  static constexpr size_t kPatterns = 128;

  // Whether the pattern that followed `*pattern` last time is at `at`; if so, sets `*pattern` to it.
  STREAMLIC_ALWAYS_INLINE static bool is_predicted(Lexer& lexer, const uint8_t* at,
                                                   KeyPattern** pattern) {
    KeyPattern* const next = (*pattern)->next;
    if (unlikely(!lexer.index.is_padded(at) || !matches(at, *next))) return false;
    *pattern = next;
    return true;
  }

  // Remembers the bytes from `begin` to `value` as the successor of `pattern`, if they can be compared at
  // once. Returns the successor, or else `pattern`.
  STREAMLIC_NOINLINE KeyPattern* remember(const uint8_t* begin, const uint8_t* value,
                                          const uint8_t* end, KeyPattern* pattern) {
    const bool is_before_string = value < end && *value == '"';
    const size_t size = bytes_between(begin, value) + is_before_string;
    if (size > sizeof KeyPattern::text || bytes_between(begin, end) < sizeof KeyPattern::text) {
      return pattern;
    }
    size_t slot = (begin[3] * 3u + begin[size / 2] * 5u + size) % kPatterns;
    for (int tries = 0; tries < 4 && patterns_[slot].size && !matches(begin, patterns_[slot]);
         ++tries) {
      slot = (slot + 1) % kPatterns;
    }
    KeyPattern& next = patterns_[slot];
    if (!next.next) next.next = &no_pattern_;
    next.set(begin, size);
    next.is_before_string = is_before_string;
    pattern->next = &next;
    return &next;
  }

  KeyPattern patterns_[kPatterns];
  KeyPattern no_pattern_;  // before the first pattern
};

}  // namespace streamlic::STREAMLIC_ISA
