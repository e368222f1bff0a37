// Memory that grows on demand, 64-byte aligned as Arrow recommends.
//
// Unused blocks are cached for the next batches: getting new memory from the system for every batch would
// take longer than filling it. A row group's batches come back at once, so the cache holds kCacheBytes; it
// keeps no block larger than kMostCachedBytes, because few batches have such a column. Whenever
// kSweepBytes were taken, it frees what nobody needed meanwhile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

namespace streamlic {

// Thrown if a column of one batch would outgrow 32-bit offsets.
struct CapacityExceeded {};

constexpr size_t kCacheBytes = size_t{32} << 20;
constexpr size_t kMostCachedBytes = size_t{4} << 20;
constexpr size_t kSweepBytes = size_t{256} << 20;  // Several row groups of up to 1 GiB of memory.

// Returns a block of at least `*bytes`, and sets `*bytes` to its size. Throws std::bad_alloc.
uint8_t* take_block(size_t* bytes);
void give_back_block(uint8_t* block, size_t bytes);

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
  ~Buffer() { give_back_block(data_, capacity_); }

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

  // Makes room for `bytes` in total; keeps the first `kept`.
  void reserve(size_t bytes, size_t kept) {
    if (bytes > capacity_) grow(bytes, kept);
  }

  // Shrinks a buffer with room for more than twice its `used` bytes.
  void trim(size_t used) {
    if (capacity_ > used * 2 && capacity_ > kLeastBytes) move_to(used, used);
  }

 private:
  void swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(capacity_, other.capacity_);
  }

  __attribute__((noinline)) void grow(size_t bytes, size_t kept) {
    move_to(capacity_ * 2 > bytes ? capacity_ * 2 : bytes, kept);
  }

  void move_to(size_t bytes, size_t kept) {
    bytes = bytes > kLeastBytes ? bytes : kLeastBytes;
    uint8_t* const block = take_block(&bytes);
    if (kept) std::memcpy(block, data_, kept);
    give_back_block(data_, capacity_);
    data_ = block;
    capacity_ = bytes;
  }

  static constexpr size_t kLeastBytes = 64;

  uint8_t* data_ = nullptr;
  size_t capacity_ = 0;
};

}  // namespace streamlic
