// Finds where an unfinished value probably ends, as its bytes arrive: counts brackets outside strings. It is
// only a hint when to read the value again, and checks nothing.
#pragma once

#include <cstddef>
#include <cstdint>

namespace streamlic {

class ValueEnd {
 public:
  static constexpr size_t kNone = SIZE_MAX;

  void begin() { *this = ValueEnd(); }

  // Takes the next bytes. Returns how many of them belong to the value if it ends in them, else kNone. After
  // the end, begin again.
  size_t find(const uint8_t* bytes, size_t size);

  // Whether a bracket is open, so that its end will be found.
  bool is_open() const { return open_ > 0; }

 private:
  size_t find_slowly(const uint8_t* bytes, size_t size);

  int64_t open_ = 0;
  bool in_string_ = false;
  bool is_escaped_ = false;  // The last byte was a backslash that escapes the next one.
};

}  // namespace streamlic
