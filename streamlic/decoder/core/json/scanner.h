// A strict scanner of one JSON value (RFC 8259) in memory: where it ends, or goes wrong.
//
// Rules:
// 1. It decides position and path of every error: the first byte at which the text stops being the
//    beginning of any JSON text.
// 2. It walks without recursion and keeps only the path to where it is.
// 3. Bytes of 128 and more are taken inside strings; that they are valid UTF-8 is checked elsewhere.
// 4. White space is space, tab, line feed and carriage return.
// It is the mirror of scanner.py, and slow like it: it is asked where the record reader refused.
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

// What is wrong, at which index of the text, and the path there.
struct Malformed {
  ErrorCode code;
  size_t index;
  Path path;
  std::string argument = {};
  size_t quoted_from = SIZE_MAX;  // where the value begins that it is in, as far as that is known
};

// Where a value ends. kPartial if the text ends inside it, whose beginning is sound.
constexpr size_t kPartial = SIZE_MAX;

struct Scan {
  size_t end;
  Path path =
      {};  // of a partial value: to the value that is in progress, or the container between two

  bool is_partial() const { return end == kPartial; }
};

struct Text {
  const uint8_t* data;
  size_t size;
  uint8_t operator[](size_t index) const { return data[index]; }
};

// Scans the value that begins at `index` (no white space before it). `depth` brackets may be open at
// once within it; `at_end` says that nothing follows the text, so that a number may end with it. Throws
// Malformed, with a path as that of a partial value.
Scan scan_value(Text text, size_t index, int depth, bool at_end);

size_t after_white_space(Text text, size_t index);

// The index after the string that begins at `index`, or kPartial.
size_t string_end(Text text, size_t index);

}  // namespace streamlic
