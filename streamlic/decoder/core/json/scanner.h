// A strict scanner of one JSON value (RFC 8259) in memory. It finds the value's end, or the error.
//
// Rules:
// 1. It decides the position and path of every error: the first byte at which the text is no longer
//    a prefix of valid JSON.
// 2. It does not recurse, and keeps only the current path.
// 3. It accepts bytes of 128 and more inside strings; utf8.h checks that they are valid UTF-8.
// 4. White space is space, tab, line feed and carriage return.
// It mirrors scanner.py, and is as slow: it runs only where the record reader refused the text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/json/error_code.h"

namespace streamlic {

// An object's key or an array's index.
struct Step {
  Step() = default;
  Step(std::string name) : key(std::move(name)) {}
  Step(int64_t place) : index(place) {}
  std::string key;
  int64_t index = -1;  // below zero: a key
};
using Path = std::vector<Step>;

Path joined(Path way, const Path& rest);

// An error, its index in the text, and the path to it.
struct Malformed {
  ErrorCode code;
  size_t index;
  Path path;
  std::string argument = {};
  size_t quoted_from = SIZE_MAX;  // where the value that contains it begins, if known
};

// Where a value ends. kPartial if the text ends inside the value, which is valid so far.
constexpr size_t kPartial = SIZE_MAX;

struct Scan {
  size_t end;
  Path path = {};  // of a partial value: to the innermost unfinished value

  bool is_partial() const { return end == kPartial; }
};

struct Text {
  const uint8_t* data;
  size_t size;
  uint8_t operator[](size_t index) const { return data[index]; }
};

// Scans the value that begins at `index`, with no white space before it. At most `depth` brackets may be
// open at once in it. `at_end` means that no bytes follow the text, so a number may end with it. Throws
// Malformed, with the same path as a partial value.
Scan scan_value(Text text, size_t index, int depth, bool at_end);

size_t after_white_space(Text text, size_t index);

// The index after the string that begins at `index`, or kPartial.
size_t string_end(Text text, size_t index);

}  // namespace streamlic
