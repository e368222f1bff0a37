// A strict scanner of one JSON value (RFC 8259) in memory: where it ends, or goes wrong.
//
// Rules:
// 1. It decides position and path of every error: the first byte at which the text stops being the
//    beginning of any JSON text.
// 2. It walks without recursion and keeps only the path to where it is.
// 3. Bytes of 128 and more are taken inside strings; that they are valid UTF-8 is checked elsewhere.
// 4. White space is space, tab, line feed and carriage return.
// It is the mirror of strict.py, and slow like it: it is asked where the record reader refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

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

enum class Fault : uint8_t {
  None,
  Malformed,
  NoListing,
  TooDeep,
  TooLong,
  Truncated,
  Rescue,
  Capacity,
  Memory
};

// What is wrong, at which index of the text, and the path there.
struct Malformed {
  std::string reason;
  size_t index;
  Path path;
  Fault fault = Fault::Malformed;
  size_t quoted_from = SIZE_MAX;  // where the value begins that it is in, as far as that is known
  std::string value = {};  // with Fault::Rescue and no reason: the text of what did not fit
};

// The text ends inside the value, whose beginning is sound; `path` leads to the end.
struct Unfinished {
  Path path;
};

struct Text {
  const uint8_t* data;
  size_t size;
  uint8_t operator[](size_t index) const { return data[index]; }
};

// The index after the value that begins at `index` (no white space before it). `depth` brackets may
// be open at once within it; `at_end` says that nothing follows the text, so that a number may end
// with it. Throws Malformed or Unfinished, whose path leads to the value that is in progress, or to
// the container between two of them.
size_t value_end(Text text, size_t index, int depth, bool at_end);

size_t after_white_space(Text text, size_t index);

// The index after the string that begins at `index`.
size_t string_end(Text text, size_t index);

}  // namespace streamlic
