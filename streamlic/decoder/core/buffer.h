// Memory that grows: 64-byte aligned, as Arrow recommends, and never shrinking.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace streamlic {

// Thrown where a column of one batch would pass what 32-bit offsets can address.
struct CapacityExceeded {};

class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { std::free(data_); }

  uint8_t* data() { return data_; }
  const uint8_t* data() const { return data_; }
  size_t capacity() const { return capacity_; }

  template <class T>
  T* as() {
    return reinterpret_cast<T*>(data_);
  }
  template <class T>
  const T* as() const {
    return reinterpret_cast<const T*>(data_);
  }

  // Makes room for `bytes` in all; the first `kept` stay.
  void reserve(size_t bytes, size_t kept) {
    if (bytes > capacity_) grow(bytes, kept);
  }

 private:
  void swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(capacity_, other.capacity_);
  }

  __attribute__((noinline)) void grow(size_t bytes, size_t kept) {
    size_t wanted = capacity_ * 2 > bytes ? capacity_ * 2 : bytes;
    wanted = (wanted + 63) & ~size_t{63};
    auto* grown = static_cast<uint8_t*>(std::aligned_alloc(64, wanted));
    if (!grown) throw std::bad_alloc();
    if (kept) std::memcpy(grown, data_, kept);
    std::free(data_);
    data_ = grown;
    capacity_ = wanted;
  }

  uint8_t* data_ = nullptr;
  size_t capacity_ = 0;
};

}  // namespace streamlic
