// Precomputes, per block of 8 KiB, a bitmap of the bytes that can end a string run: quote, backslash,
// control character.
//
// Rules:
// 1. A block begins at the current place, and is indexed only when reading has left the one before.
// 2. The end of the text is a string terminator. The end of a block is not: a search that reaches it
//    indexes the next block.
// 3. At a place that `is_padded`, kPadding bytes may be read without a check for the end of the text, and
//    their bitmap without a check for the end of the block.
// 4. A prediction reads only the current block. If it indexed a block further on and then failed, reading
//    would resume before that block.
#pragma once

#include "core/reader/generic/isa-inl.h"

namespace streamlic::STREAMLIC_ISA {

constexpr size_t kPadding = 128;

inline size_t bytes_between(const uint8_t* from, const uint8_t* to) {
  return static_cast<size_t>(to - from);
}

// Swaps a word between the machine's byte order and little-endian.
STREAMLIC_ALWAYS_INLINE uint64_t little_endian(uint64_t word) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  return __builtin_bswap64(word);
#else
  return word;
#endif
}

class StringIndex {
 public:
  // Forgets the block. Call it after the bytes of a text may have changed.
  void forget() {
    block_ = padded_end_ = nullptr;
    block_bytes_ = 0;
  }

  // Starts at `text`, which may be in the block.
  void open(const uint8_t* text, const uint8_t* end) {
    end_ = end;
    if (text < block_) forget();
  }

  const uint8_t* end() const { return end_; }
  const uint8_t* padded_end() const { return padded_end_; }

  // Whether at least kPadding bytes from `at` on are in this block, and in the text.
  STREAMLIC_ALWAYS_INLINE bool is_padded(const uint8_t* at) {
    assert(block_ <= at);
    return likely(at < padded_end_) || is_padded_in_next(at);
  }

  // The first string terminator from `at` on.
  STREAMLIC_ALWAYS_INLINE const uint8_t* terminator(const uint8_t* at) {
    return likely(bytes_between(block_, at) < block_bytes_) ? terminator_in_block(at)
                                                            : far_terminator(at);
  }
  STREAMLIC_ALWAYS_INLINE const uint8_t* terminator_in_block(const uint8_t* at) {
    const uint64_t bitmap = bitmap_at(at);
    return likely(bitmap) ? at + __builtin_ctzll(bitmap) : far_terminator(at);
  }

  // A bit for each of the next bytes, at least 57, set for a string terminator; the lowest is the first
  // byte.
  STREAMLIC_ALWAYS_INLINE uint64_t bitmap_at(const uint8_t* at) const {
    const size_t offset = bytes_between(block_, at);
    assert(offset < block_bytes_);
    uint64_t bitmap;
    std::memcpy(&bitmap, reinterpret_cast<const uint8_t*>(bitmaps_) + offset / 8, sizeof bitmap);
    return little_endian(bitmap) >> offset % 8;
  }

 private:
  static constexpr size_t kBlockBytes = STREAMLIC_BLOCK_BYTES;

  STREAMLIC_NOINLINE bool is_padded_in_next(const uint8_t* at) {
    if (block_ + block_bytes_ == end_) return false;
    index_block(at);
    return at < padded_end_;
  }

  STREAMLIC_NOINLINE void index_block(const uint8_t* at) {
    block_ = at;
    block_bytes_ = std::min(kBlockBytes, bytes_between(at, end_));
    padded_end_ = at + (block_bytes_ > kPadding ? block_bytes_ - kPadding : 0);
    const size_t words = block_bytes_ / 64;
    size_t word = 0;
    for (; words - word >= 4; word += 4) {
      for (size_t i = word; i < word + 4; ++i) {
        bitmaps_[i] = little_endian(terminators_of(at + i * 64));
      }
    }
    for (; word < words; ++word) bitmaps_[word] = little_endian(terminators_of(at + word * 64));
    if (block_bytes_ % 64) {
      uint8_t last[64];
      std::memset(last, '"', sizeof last);
      std::memcpy(last, at + word * 64, block_bytes_ % 64);
      bitmaps_[word++] = little_endian(terminators_of(last));
    } else if (at + block_bytes_ == end_) {
      bitmaps_[word++] = little_endian(1);
    }
    bitmaps_[word] = 0;
  }

  STREAMLIC_NOINLINE const uint8_t* far_terminator(const uint8_t* at) {
    while (true) {
      const size_t offset = bytes_between(block_, at);
      if (offset >= block_bytes_) {
        if (at == end_) return at;
        index_block(at);
        continue;
      }
      const uint64_t bitmap = little_endian(bitmaps_[offset / 64]) >> offset % 64;
      if (bitmap) return at + __builtin_ctzll(bitmap);
      at += 64 - offset % 64;
    }
  }

  const uint8_t* block_ = nullptr;
  size_t block_bytes_ = 0;
  const uint8_t* padded_end_ = nullptr;
  const uint8_t* end_ = nullptr;            // of the text
  uint64_t bitmaps_[kBlockBytes / 64 + 2];  // little-endian words
};

}  // namespace streamlic::STREAMLIC_ISA
