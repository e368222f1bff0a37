// Bytes that are compared with the text at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace streamlic {

// Up to 32 bytes to compare with the text at once.
struct Pattern {
  static constexpr uint64_t kNever = uint64_t{1} << 32;  // a bit past the bytes: never matches

  uint8_t text[32] = {};
  uint64_t mask = kNever;  // a bit for each byte that counts
  uint32_t size = 0;       // how many count, from the first on

  // Takes the first `length` bytes; 32 must be readable.
  void set(const uint8_t* bytes, size_t length) {
    std::memcpy(text, bytes, sizeof text);
    mask = (uint64_t{1} << length) - 1;
    size = static_cast<uint32_t>(length);
  }
};

}  // namespace streamlic
