// Decodes the bytes of one body into batches of columns.
//
// Rules:
// 1. How the body is split into chunks changes neither the batches nor the verdict.
// 2. The verdict is about the first error in the body. A decoder cannot be used after an error.
// 3. The decoder holds the unfinished batch and one unfinished record or other member. That is bounded by
//    `max_record_bytes`, and is read again only when its last bracket seems to be there, or when it has
//    grown by a factor, so time stays linear. A chunk is read in place: only the unfinished end of a chunk,
//    and the bytes that complete it, are copied.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "core/body/body.h"
#include "core/arrow/buffer.h"
#include "core/body/options.h"
#include "core/json/scanner.h"
#include "core/json/utf8.h"
#include "core/body/value_end.h"
#include "core/body/window.h"

namespace streamlic {

// Bytes that are appended at the end and dropped from the front. Unlike a vector, it frees a large buffer
// when it is cleared.
class HeldBytes {
 public:
  uint8_t* data() { return buffer_.data(); }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  void append(const uint8_t* bytes, size_t size) {
    if (!size) return;
    buffer_.reserve(size_ + size, size_);
    std::memcpy(buffer_.data() + size_, bytes, size);
    size_ += size;
  }
  void drop(size_t bytes) {
    if (!bytes) return;
    size_ -= bytes;
    std::memmove(buffer_.data(), buffer_.data() + bytes, size_);
  }
  void clear() {
    size_ = 0;
    if (buffer_.capacity() > kKeptBytes) buffer_ = Buffer();
  }

 private:
  static constexpr size_t kKeptBytes = size_t{1} << 20;

  Buffer buffer_;
  size_t size_ = 0;
};

class Decoder {
 public:
  Decoder(std::shared_ptr<const Schema> schema, Options options, InstructionSet instructions);
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // Each returns false after an error; then `verdict` has it.
  bool feed(const uint8_t* chunk, size_t size);
  bool close();

  const Verdict& verdict() const { return verdict_; }
  const Verdict* held_misfit() const { return body_.held_misfit(); }
  size_t held_bytes() const { return held_.size(); }
  const Envelope& envelope() const { return body_.envelope(); }
  std::vector<std::unique_ptr<Batch>> take_batches() { return body_.take_batches(); }
  // The remarks since the last call. Judge them before the verdict.
  std::vector<Remark> take_remarks() { return body_.take_remarks(); }

 private:
  void take_ill_formed(const uint8_t* chunk, int64_t offset);
  void take_partial();
  void take(const uint8_t* chunk, size_t size);
  void finish_held(const uint8_t** chunk, size_t* size, size_t value_end);
  void hold(const uint8_t* bytes, size_t size);
  void expect_end();
  void read(const uint8_t* data, size_t size, size_t leave_at);
  void keep_rest();
  template <class Work>
  bool guarded(Work work);
  void set_verdict(const Malformed& malformed);
  void prefer_misfit();

  const std::shared_ptr<const Schema> schema_;
  const Options options_;
  Utf8Check utf8_;
  Window window_;  // onto the held bytes, or onto a chunk
  Body body_;
  Verdict verdict_;

  HeldBytes held_;                // the unfinished end of the bytes so far
  std::vector<uint8_t> partial_;  // a character's first bytes
  size_t waiting_ = 0;            // held bytes that were not read yet
  ValueEnd value_end_;            // of the held value
  bool is_end_expected_ = false;  // whether `value_end_` will find it
  int64_t fed_ = 0;
};

}  // namespace streamlic
