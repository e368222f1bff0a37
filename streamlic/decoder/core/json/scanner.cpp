#include "core/json/scanner.h"

#include <cstring>

#include "core/json/text.h"

namespace streamlic {

namespace {

bool is_digit(uint8_t byte) { return byte >= '0' && byte <= '9'; }

bool is_hex(uint8_t byte) {
  return is_digit(byte) || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'f');
}

size_t after_digits(Text text, size_t index) {
  while (index < text.size && is_digit(text[index])) ++index;
  return index;
}

// Throws because a digit is missing at `index`, unless the text ends there.
size_t digit_missing(Text text, size_t index) {
  if (index >= text.size) return kPartial;
  throw Malformed{ErrorCode::Digit, index, {}};
}

size_t number_end(Text text, size_t index) {
  if (text[index] == '-') ++index;
  if (index >= text.size || !is_digit(text[index])) return digit_missing(text, index);
  index = text[index] == '0' ? index + 1 : after_digits(text, index);
  if (index < text.size && text[index] == '.') {
    const size_t end = after_digits(text, index + 1);
    if (end == index + 1) return digit_missing(text, end);
    index = end;
  }
  if (index < text.size && (text[index] | 0x20) == 'e') {
    ++index;
    if (index < text.size && (text[index] == '+' || text[index] == '-')) ++index;
    const size_t end = after_digits(text, index);
    if (end == index) return digit_missing(text, end);
    index = end;
  }
  return index;
}

size_t literal_end(Text text, size_t index, const char* literal) {
  for (size_t offset = 0; literal[offset]; ++offset) {
    if (index + offset == text.size) return kPartial;
    if (text[index + offset] != static_cast<uint8_t>(literal[offset])) {
      throw Malformed{ErrorCode::Literal, index + offset, {}, literal};
    }
  }
  return index + std::strlen(literal);
}

size_t scalar_end(Text text, size_t index, ErrorCode expected) {
  switch (text[index]) {
    case '"':
      return string_end(text, index);
    case 't':
      return literal_end(text, index, "true");
    case 'f':
      return literal_end(text, index, "false");
    case 'n':
      return literal_end(text, index, "null");
    default:
      if (text[index] == '-' || is_digit(text[index])) return number_end(text, index);
      throw Malformed{expected, index, {}};
  }
}

bool is_number(uint8_t byte) { return byte == '-' || is_digit(byte); }

}  // namespace

Path joined(Path way, const Path& rest) {
  way.insert(way.end(), rest.begin(), rest.end());
  return way;
}

size_t after_white_space(Text text, size_t index) {
  while (index < text.size && (text[index] == ' ' || text[index] == '\n' || text[index] == '\r' ||
                               text[index] == '\t')) {
    ++index;
  }
  return index;
}

size_t string_end(Text text, size_t index) {
  ++index;
  while (true) {
    while (index < text.size && text[index] >= 0x20 && text[index] != '"' && text[index] != '\\') {
      ++index;
    }
    if (index == text.size) return kPartial;
    if (text[index] == '"') return index + 1;
    if (text[index] != '\\') throw Malformed{ErrorCode::ControlCharacter, index, {}};
    if (index + 1 == text.size) return kPartial;
    if (!std::strchr("\"\\/bfnrtu", text[index + 1]) || !text[index + 1]) {
      throw Malformed{ErrorCode::Escape, index + 1, {}};
    }
    if (text[index + 1] != 'u') {
      index += 2;
      continue;
    }
    for (size_t offset = 2; offset < 6; ++offset) {
      if (index + offset == text.size) return kPartial;
      if (!is_hex(text[index + offset])) {
        throw Malformed{ErrorCode::HexDigits, index + offset, {}};
      }
    }
    index += 6;
  }
}

Scan scan_value(Text text, size_t index, int depth, bool at_end) {
  Path path;
  std::vector<uint8_t> closers;
  ErrorCode expected = ErrorCode::Value;
  const auto shown_path = [&] {
    const bool in_value = expected == ErrorCode::Value || expected == ErrorCode::ValueOrEnd ||
                          expected == ErrorCode::Colon;
    if (!in_value && !path.empty()) path.pop_back();
    return std::move(path);
  };
  const auto partial = [&] { return Scan{kPartial, shown_path()}; };
  try {
    while (true) {
      if (!closers.empty()) index = after_white_space(text, index);
      if (index == text.size) return partial();
      const uint8_t byte = text[index];
      const bool may_end = expected == ErrorCode::KeyOrEnd || expected == ErrorCode::ValueOrEnd;
      if (expected == ErrorCode::CommaOrEnd) {
        if (byte == ',') {
          expected = closers.back() == '}' ? ErrorCode::Key : ErrorCode::Value;
          if (expected == ErrorCode::Value) ++path.back().index;
        } else if (byte == closers.back()) {
          closers.pop_back();
          path.pop_back();
        } else {
          throw Malformed{expected, index, {}, std::string(1, static_cast<char>(closers.back()))};
        }
        ++index;
      } else if (expected == ErrorCode::Colon) {
        if (byte != ':') throw Malformed{expected, index, {}};
        expected = ErrorCode::Value;
        ++index;
      } else if (may_end && byte == closers.back()) {
        closers.pop_back();
        path.pop_back();
        expected = ErrorCode::CommaOrEnd;
        ++index;
      } else if (expected == ErrorCode::Key || expected == ErrorCode::KeyOrEnd) {
        if (byte != '"') throw Malformed{expected, index, {}};
        const size_t start = index;
        index = string_end(text, start);
        if (index == kPartial) return partial();
        path.back() = Step(key_of(text.data + start, index - start));
        expected = ErrorCode::Colon;
      } else if (byte == '{' || byte == '[') {
        if (closers.size() == static_cast<size_t>(depth)) {
          throw Malformed{ErrorCode::MaxDepth, index, {}};
        }
        closers.push_back(static_cast<uint8_t>(byte + 2));
        path.push_back(byte == '{' ? Step(std::string()) : Step(int64_t{0}));
        expected = byte == '{' ? ErrorCode::KeyOrEnd : ErrorCode::ValueOrEnd;
        ++index;
      } else {
        index = scalar_end(text, index, expected);
        const bool is_open_number =
            is_number(byte) && index == text.size && !(at_end && closers.empty());
        if (index == kPartial || is_open_number) return partial();
        expected = ErrorCode::CommaOrEnd;
      }
      if (closers.empty() && expected == ErrorCode::CommaOrEnd) return {index};
    }
  } catch (Malformed& malformed) {
    malformed.path = shown_path();
    throw;
  }
}

}  // namespace streamlic
