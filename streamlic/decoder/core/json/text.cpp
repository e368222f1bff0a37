#include "core/json/text.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

namespace streamlic {

namespace {

unsigned hex4(const uint8_t* text) { return static_cast<unsigned>(code_unit(text)); }

// The code unit of the \u escape at `text`; 0 if there is none.
unsigned unit_at(const uint8_t* text, const uint8_t* end) {
  if (end - text < 6 || text[0] != '\\' || text[1] != 'u') return 0;
  return hex4(text + 2);
}

uint8_t* put_utf8(uint8_t* out, unsigned code) {
  if (code < 0x80) {
    *out++ = static_cast<uint8_t>(code);
  } else if (code < 0x800) {
    *out++ = static_cast<uint8_t>(0xC0 | code >> 6);
    *out++ = static_cast<uint8_t>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    *out++ = static_cast<uint8_t>(0xE0 | code >> 12);
    *out++ = static_cast<uint8_t>(0x80 | (code >> 6 & 0x3F));
    *out++ = static_cast<uint8_t>(0x80 | (code & 0x3F));
  } else {
    *out++ = static_cast<uint8_t>(0xF0 | code >> 18);
    *out++ = static_cast<uint8_t>(0x80 | (code >> 12 & 0x3F));
    *out++ = static_cast<uint8_t>(0x80 | (code >> 6 & 0x3F));
    *out++ = static_cast<uint8_t>(0x80 | (code & 0x3F));
  }
  return out;
}

uint8_t* find(uint8_t* text, uint8_t* end, char sought) {
  return static_cast<uint8_t*>(std::memchr(text, sought, static_cast<size_t>(end - text)));
}

// The first escape of an unpaired surrogate; null if there is none.
uint8_t* next_unpaired(uint8_t* text, uint8_t* end) {
  while ((text = find(text, end, '\\'))) {
    const unsigned unit = unit_at(text, end);
    if (is_high_surrogate(unit) && is_low_surrogate(unit_at(text + 6, end))) {
      text += 12;
    } else if (is_high_surrogate(unit) || is_low_surrogate(unit)) {
      return text;
    } else {
      text += std::min<std::ptrdiff_t>(unit ? 6 : 2, end - text);
    }
  }
  return nullptr;
}

// Mends the text between two quotes; different keys stay different.
void mend_string(uint8_t* text, uint8_t* end, bool is_key) {
  while ((text = next_unpaired(text, end))) {
    if (is_key) {
      text[1] = '\\';
      for (int i = 2; i < 6; ++i) text[i] |= 0x20;  // small letters; digits stay digits
    } else {
      std::memcpy(text, "\\ufffd", 6);
    }
    text += 6;
  }
}

}  // namespace

void unescape_one(const uint8_t** at, const uint8_t* end, uint8_t** out) {
  const uint8_t* text = *at;
  if (text[1] != 'u') {
    *(*out)++ = kEscapes[text[1]];
    *at = text + 2;
    return;
  }
  unsigned code = hex4(text + 2);
  text += 6;
  if (is_high_surrogate(code) && is_low_surrogate(unit_at(text, end))) {
    code = 0x10000 + ((code - 0xD800) << 10) + (unit_at(text, end) - 0xDC00);
    text += 6;
  } else if (is_high_surrogate(code) || is_low_surrogate(code)) {
    code = 0xFFFD;
  }
  *out = put_utf8(*out, code);
  *at = text;
}

size_t unescape(const uint8_t* text, size_t size, uint8_t* out) {
  const uint8_t* const end = text + size;
  uint8_t* const begin = out;
  while (text < end) {
    const auto* escape =
        static_cast<const uint8_t*>(std::memchr(text, '\\', static_cast<size_t>(end - text)));
    const size_t plain = static_cast<size_t>((escape ? escape : end) - text);
    std::memcpy(out, text, plain);
    out += plain;
    if (!escape) break;
    text = escape;
    unescape_one(&text, end, &out);
  }
  return static_cast<size_t>(out - begin);
}

std::string text_of(const uint8_t* token, size_t size) {
  std::string text(size - 2, '\0');
  if (!text.empty()) {
    text.resize(unescape(token + 1, size - 2, reinterpret_cast<uint8_t*>(text.data())));
  }
  return text;
}

bool has_surrogate_escape(const uint8_t* text, size_t size) {
  const uint8_t* const end = text + size;
  while ((text = static_cast<const uint8_t*>(
              std::memchr(text, '\\', static_cast<size_t>(end - text))))) {
    if (end - text >= 4 && text[1] == 'u' && (text[2] | 0x20) == 'd' && text[3] >= '8') return true;
    if (++text == end) break;
  }
  return false;
}

std::string key_of(const uint8_t* token, size_t size) {
  if (!has_surrogate_escape(token, size)) return text_of(token, size);
  std::vector<uint8_t> mended(token, token + size);
  mend_string(mended.data(), mended.data() + size, true);
  return text_of(mended.data(), size);
}

void mend_surrogates(uint8_t* text, size_t size) {
  uint8_t* const end = text + size;
  if (!next_unpaired(text, end)) return;
  while ((text = find(text, end, '"'))) {
    uint8_t* const begin = text++;
    while (*text != '"') text += *text == '\\' ? 2 : 1;
    const uint8_t* after = ++text;
    while (after < end && (*after == ' ' || *after == '\n' || *after == '\r' || *after == '\t')) {
      ++after;
    }
    mend_string(begin, text, after < end && *after == ':');
  }
}

void append_escaped(std::string& json, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    switch (byte) {
      case '"':
        json += "\\\"";
        break;
      case '\\':
        json += "\\\\";
        break;
      case '\n':
        json += "\\n";
        break;
      case '\r':
        json += "\\r";
        break;
      case '\t':
        json += "\\t";
        break;
      case '\b':
        json += "\\b";
        break;
      case '\f':
        json += "\\f";
        break;
      default:
        if (byte >= 0x20) {
          json += c;
        } else {
          json += "\\u00";
          json += kHex[byte >> 4];
          json += kHex[byte & 15];
        }
    }
  }
}

std::string_view first_characters(std::string_view text, size_t characters) {
  size_t index = 0;
  for (; index < text.size(); ++index) {
    const bool begins = (static_cast<uint8_t>(text[index]) & 0xC0) != 0x80;
    if (begins && characters-- == 0) break;
  }
  return text.substr(0, index);
}

}  // namespace streamlic
