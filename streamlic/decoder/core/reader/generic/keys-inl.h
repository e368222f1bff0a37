// Finds keys of a record in the text, and remembers them.
#pragma once

#include "core/reader/generic/lexer-inl.h"

namespace streamlic::STREAMLIC_ISA {

// The known key that may begin here.
STREAMLIC_ALWAYS_INLINE Key* candidate(const Lexer& lexer, const uint8_t* begin, Keys& keys) {
  if (likely(keys.is_by_prefix())) return keys.candidate(begin);
  const uint8_t* const name = begin + 1;
  const uint64_t bitmap = lexer.index.bitmap_at(name);
  return keys.candidate(name, bitmap ? static_cast<size_t>(__builtin_ctzll(bitmap)) : 0);
}

// Whether the member at `begin` has this key.
STREAMLIC_ALWAYS_INLINE bool is_unknown(Lexer& lexer, const uint8_t* begin, const UnknownKey& key) {
  return lexer.index.is_padded(begin) && matches(begin, key.pattern);
}

// The key of this name, which has no escapes, or null.
inline Key* plain_key(const Lexer& lexer, const uint8_t* name, size_t size, Keys& keys) {
  if (bytes_between(name, lexer.end()) >= sizeof Pattern::text) {
    Key* const key = keys.candidate(name, size);
    if (matches(name, key->name)) return key;
    if (keys.is_perfect()) return nullptr;
  }
  return keys.find(name, size);
}

// Remembers the bytes from `begin` to a value, unless they are too many.
inline void remember(const Lexer& lexer, const uint8_t* begin, const uint8_t* value,
                     Pattern* pattern) {
  const size_t size = bytes_between(begin, value);
  if (size > sizeof pattern->text || bytes_between(begin, lexer.end()) < sizeof pattern->text) {
    return;
  }
  if (size != pattern->size || !matches(begin, *pattern)) pattern->set(begin, size);
}

// Remembers the unknown key at `name`, unless it has escapes or is too long. `*last` is the number of the
// unknown key before it, and becomes its own.
STREAMLIC_NOINLINE inline void remember_unknown(const Lexer& lexer, const uint8_t* begin,
                                                const uint8_t* name, const uint8_t* value,
                                                Plan& plan, Key& previous, uint8_t* last) {
  if (bytes_between(begin, value) > sizeof Pattern::text) return;
  if (bytes_between(begin, lexer.end()) < sizeof Pattern::text) return;
  const uint8_t* name_end = name;
  while (*name_end != '"' && *name_end != '\\') ++name_end;
  if (*name_end != '"') return;
  const uint8_t number = plan.unknown.remember(begin, name, bytes_between(name, name_end), value);
  plan.unknown_after(previous, *last) = number;
  *last = number;
}

}  // namespace streamlic::STREAMLIC_ISA
