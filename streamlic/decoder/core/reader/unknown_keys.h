// Remembers the unknown keys of an object: if they come again in the same order, one comparison finds each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "core/reader/pattern.h"

namespace streamlic {

// A key that no column has, and which unknown key followed it last time.
struct alignas(64) UnknownKey {
  Pattern pattern;  // the bytes from after the comma or brace before it to its value
  uint32_t name_begin = 0;
  uint32_t name_size = 0;
  uint8_t next = 0;
};

class UnknownKeys {
 public:
  // Key 0 is never used: its pattern matches nothing.
  UnknownKey& operator[](uint8_t number) { return keys_[number]; }

  // Remembers the key of `name_size` bytes at `name`, which has no escapes. Its member begins at `begin`,
  // and its value at `value`, at most 32 bytes later; 32 bytes from `begin` on must be readable. Returns its
  // number.
  uint8_t remember(const uint8_t* begin, const uint8_t* name, size_t name_size,
                   const uint8_t* value) {
    const auto size = static_cast<size_t>(value - begin);
    if (keys_.size() == 1) keys_.resize(kMost + 1);
    size_t place = (begin[size / 2] * 5u + begin[size - 3] * 3u + size) % kMost;
    for (int tries = 0; tries < 4; ++tries) {
      const Pattern& other = keys_[place + 1].pattern;
      if (!other.size || (other.size == size && !std::memcmp(other.text, begin, size))) break;
      place = (place + 1) % kMost;
    }
    UnknownKey& key = keys_[place + 1];
    key.pattern.set(begin, size);
    key.name_begin = static_cast<uint32_t>(name - begin);
    key.name_size = static_cast<uint32_t>(name_size);
    return static_cast<uint8_t>(place + 1);
  }

 private:
  static constexpr size_t kMost = 128;

  std::vector<UnknownKey> keys_{1};  // Most objects have none.
};

}  // namespace streamlic
