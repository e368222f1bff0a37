#include "core/json/scanner.h"

#include <cstring>

#include "core/json/text.h"

namespace streamlic {

namespace {

enum class Expected { Value, ValueOrEnd, Key, KeyOrEnd, Colon, CommaOrEnd };

const char* expectation(Expected expected) {
  switch (expected) {
    case Expected::Value:
      return "expected a value";
    case Expected::ValueOrEnd:
      return "expected a value or ]";
    case Expected::Key:
      return "expected a key in double quotes";
    case Expected::KeyOrEnd:
      return "expected a key in double quotes or }";
    default:
      return "expected : after the key";
  }
}

bool is_digit(uint8_t byte) { return byte >= '0' && byte <= '9'; }

bool is_hex(uint8_t byte) {
  return is_digit(byte) || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'f');
}

size_t after_digits(Text text, size_t index) {
  while (index < text.size && is_digit(text[index])) ++index;
  return index;
}

// Throws for a digit that is missing at `index`.
[[noreturn]] void digit_missing(Text text, size_t index) {
  if (index >= text.size) throw Unfinished{};
  throw Malformed{"expected a digit", index, {}};
}

size_t number_end(Text text, size_t index) {
  if (text[index] == '-') ++index;
  if (index >= text.size || !is_digit(text[index])) digit_missing(text, index);
  index = text[index] == '0' ? index + 1 : after_digits(text, index);
  if (index < text.size && text[index] == '.') {
    const size_t end = after_digits(text, index + 1);
    if (end == index + 1) digit_missing(text, end);
    index = end;
  }
  if (index < text.size && (text[index] | 0x20) == 'e') {
    ++index;
    if (index < text.size && (text[index] == '+' || text[index] == '-')) ++index;
    const size_t end = after_digits(text, index);
    if (end == index) digit_missing(text, end);
    index = end;
  }
  return index;
}

size_t literal_end(Text text, size_t index, const char* literal) {
  for (size_t offset = 0; literal[offset]; ++offset) {
    if (index + offset == text.size) throw Unfinished{};
    if (text[index + offset] != static_cast<uint8_t>(literal[offset])) {
      throw Malformed{std::string("expected ") + literal, index + offset, {}};
    }
  }
  return index + std::strlen(literal);
}

size_t scalar_end(Text text, size_t index, Expected expected) {
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
      throw Malformed{expectation(expected), index, {}};
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
    if (index == text.size) throw Unfinished{};
    if (text[index] == '"') return index + 1;
    if (text[index] != '\\') throw Malformed{"expected no control character in a string", index, {}};
    if (index + 1 == text.size) throw Unfinished{};
    if (!std::strchr("\"\\/bfnrtu", text[index + 1]) || !text[index + 1]) {
      throw Malformed{"expected one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u after \\ ", index + 1, {}};
    }
    if (text[index + 1] != 'u') {
      index += 2;
      continue;
    }
    for (size_t offset = 2; offset < 6; ++offset) {
      if (index + offset == text.size) throw Unfinished{};
      if (!is_hex(text[index + offset])) {
        throw Malformed{"expected four hexadecimal digits after \\u", index + offset, {}};
      }
    }
    index += 6;
  }
}

size_t value_end(Text text, size_t index, int depth, bool at_end) {
  Path path;
  std::vector<uint8_t> closers;
  Expected expected = Expected::Value;
  const auto shown_path = [&] {
    const bool in_value = expected == Expected::Value || expected == Expected::ValueOrEnd ||
                          expected == Expected::Colon;
    if (!in_value && !path.empty()) path.pop_back();
    return std::move(path);
  };
  try {
    while (true) {
      if (!closers.empty()) index = after_white_space(text, index);
      if (index == text.size) throw Unfinished{};
      const uint8_t byte = text[index];
      const bool may_end = expected == Expected::KeyOrEnd || expected == Expected::ValueOrEnd;
      if (expected == Expected::CommaOrEnd) {
        if (byte == ',') {
          expected = closers.back() == '}' ? Expected::Key : Expected::Value;
          if (expected == Expected::Value) ++path.back().index;
        } else if (byte == closers.back()) {
          closers.pop_back();
          path.pop_back();
        } else {
          throw Malformed{std::string("expected , or ") + static_cast<char>(closers.back()), index, {}};
        }
        ++index;
      } else if (expected == Expected::Colon) {
        if (byte != ':') throw Malformed{expectation(expected), index, {}};
        expected = Expected::Value;
        ++index;
      } else if (may_end && byte == closers.back()) {
        closers.pop_back();
        path.pop_back();
        expected = Expected::CommaOrEnd;
        ++index;
      } else if (expected == Expected::Key || expected == Expected::KeyOrEnd) {
        if (byte != '"') throw Malformed{expectation(expected), index, {}};
        const size_t start = index;
        index = string_end(text, start);
        path.back() = Step(key_of(text.data + start, index - start));
        expected = Expected::Colon;
      } else if (byte == '{' || byte == '[') {
        if (closers.size() == static_cast<size_t>(depth)) {
          throw Malformed{"too many open brackets", index, {}, Fault::TooDeep};
        }
        closers.push_back(static_cast<uint8_t>(byte + 2));
        path.push_back(byte == '{' ? Step(std::string()) : Step(int64_t{0}));
        expected = byte == '{' ? Expected::KeyOrEnd : Expected::ValueOrEnd;
        ++index;
      } else {
        index = scalar_end(text, index, expected);
        if (is_number(byte) && index == text.size && !(at_end && closers.empty())) {
          throw Unfinished{};
        }
        expected = Expected::CommaOrEnd;
      }
      if (closers.empty() && expected == Expected::CommaOrEnd) return index;
    }
  } catch (Malformed& malformed) {
    malformed.path = shown_path();
    throw;
  } catch (Unfinished& unfinished) {
    unfinished.path = shown_path();
    throw;
  }
}

}  // namespace streamlic
