// Bytes of one body in, batches of columns out.
//
// Rules:
// 1. Where the body is cut into chunks changes neither the batches nor the verdict.
// 2. The verdict is about the first error in the body. After one the decoder is spent.
// 3. Held are the batch in the making and one unfinished record or other member, which is bounded by
//    `max_record_bytes` and read again only when it has doubled: time stays linear. A chunk is read
//    where it lies; copied are what is unfinished at its end, and what completes that.
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
#include "core/body/window.h"

namespace streamlic {

// Bytes that come at the end and go from the front. What many took is given back to the system at once,
// which a vector's memory is not.
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

// What is wrong with the body, and where.
struct Verdict {
  ErrorCode code = ErrorCode::None;
  std::string argument;
  int64_t position = 0;
  Path path;
  std::string quoted = {};  // what leads to the byte that is wrong, and that
};

class Decoder {
 public:
  Decoder(std::shared_ptr<const Schema> schema, Options options, InstructionSet instructions);
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // Each returns whether all is well; if not, `verdict` says what is wrong.
  bool feed(const uint8_t* chunk, size_t size);
  bool close();

  const Verdict& verdict() const { return verdict_; }
  size_t held_bytes() const { return held_.size(); }
  const Envelope& envelope() const { return body_.envelope(); }
  std::vector<std::unique_ptr<Batch>> take_batches() { return body_.take_batches(); }
  // What is to be judged of all that was read since; it comes before the verdict.
  std::vector<Remark> take_remarks() { return body_.take_remarks(); }

 private:
  void take_ill_formed(const uint8_t* chunk, int64_t offset);
  void take_partial();
  void take(const uint8_t* chunk, size_t size);
  void finish_held(const uint8_t** chunk, size_t* size);
  void read(const uint8_t* data, size_t size, size_t leave_at);
  void keep_rest();
  template <class Work>
  bool guarded(Work work);
  void set_verdict(const Malformed& malformed);

  const std::shared_ptr<const Schema> schema_;
  const Options options_;
  Utf8Check utf8_;
  Window window_;  // onto the held bytes, or onto a chunk
  Body body_;
  Verdict verdict_;

  HeldBytes held_;                // the unfinished end of what was fed
  std::vector<uint8_t> partial_;  // a character's first bytes
  size_t waiting_ = 0;            // bytes of what is held that were not looked at yet
  int64_t fed_ = 0;
};

}  // namespace streamlic
