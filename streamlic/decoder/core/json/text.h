// Converts JSON strings to UTF-8 and back. The text must be valid.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace streamlic {

// The value of a hexadecimal digit; for any other byte 0xFF.
constexpr std::array<uint8_t, 256> hex_digits() {
  std::array<uint8_t, 256> values{};
  for (int byte = 0; byte < 256; ++byte) {
    const int letter = byte | 0x20;
    const bool is_digit = byte >= '0' && byte <= '9';
    const bool is_letter = letter >= 'a' && letter <= 'f';
    values[static_cast<size_t>(byte)] = static_cast<uint8_t>(is_digit    ? byte - '0'
                                                             : is_letter ? letter - 'a' + 10
                                                                         : 0xFF);
  }
  return values;
}
inline constexpr std::array<uint8_t, 256> kHexDigits = hex_digits();

// The character that a letter after a backslash means; 0 for u and for invalid escapes.
constexpr std::array<uint8_t, 256> escapes() {
  std::array<uint8_t, 256> meant{};
  meant['"'] = '"';
  meant['\\'] = '\\';
  meant['/'] = '/';
  meant['b'] = '\b';
  meant['f'] = '\f';
  meant['n'] = '\n';
  meant['r'] = '\r';
  meant['t'] = '\t';
  return meant;
}
inline constexpr std::array<uint8_t, 256> kEscapes = escapes();

// The bytes of the escape with this letter after its backslash; 0 for invalid escapes.
constexpr std::array<uint8_t, 256> escape_sizes() {
  std::array<uint8_t, 256> sizes{};
  for (size_t letter = 0; letter < sizes.size(); ++letter) sizes[letter] = kEscapes[letter] ? 2 : 0;
  sizes['u'] = 6;
  return sizes;
}
inline constexpr std::array<uint8_t, 256> kEscapeSizes = escape_sizes();

// The value of four hexadecimal digits; negative if one of them is not a digit.
inline int code_unit(const uint8_t* text) {
  const int digits[] = {kHexDigits[text[0]], kHexDigits[text[1]], kHexDigits[text[2]],
                        kHexDigits[text[3]]};
  if ((digits[0] | digits[1] | digits[2] | digits[3]) > 15) return -1;
  return digits[0] << 12 | digits[1] << 8 | digits[2] << 4 | digits[3];
}

inline bool is_high_surrogate(unsigned unit) { return (unit & 0xFC00) == 0xD800; }
inline bool is_low_surrogate(unsigned unit) { return (unit & 0xFC00) == 0xDC00; }

// Unescapes the inside of a JSON string; returns the bytes written, never more than read.
// An unpaired surrogate escape becomes U+FFFD.
size_t unescape(const uint8_t* text, size_t size, uint8_t* out);

// Unescapes the escape at `text`; moves both pointers past it.
void unescape_one(const uint8_t** text, const uint8_t* end, uint8_t** out);

// The text of a JSON string token. The token includes its quotes.
std::string text_of(const uint8_t* token, size_t size);

// The key of a JSON string token. An unpaired surrogate escape keeps its backslash and digits as text, so
// that different keys stay different.
std::string key_of(const uint8_t* token, size_t size);

// Replaces each unpaired surrogate escape in place: by \ufffd, and in a key by \\d800 and the like. The
// text is one or several valid JSON values.
void mend_surrogates(uint8_t* text, size_t size);

// Whether the text may have an unpaired surrogate escape.
bool has_surrogate_escape(const uint8_t* text, size_t size);

// Appends `text` as the inside of a JSON string; characters outside ASCII are not escaped.
void append_escaped(std::string& json, std::string_view text);

// The first `characters` code points of UTF-8 text.
std::string_view first_characters(std::string_view text, size_t characters);

}  // namespace streamlic
