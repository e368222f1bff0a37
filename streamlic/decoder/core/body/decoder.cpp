#include "core/body/decoder.h"

#include <algorithm>
#include <new>
#include <utility>

namespace streamlic {

namespace {

constexpr size_t kPieceBytes = 4096;
// A value whose end is expected is read again when it has grown by this factor: it may be wrong.
constexpr size_t kMostGrowth = 16;
constexpr size_t kQuotedBytes = 4096;  // as in findings.py

}  // namespace

Decoder::Decoder(std::shared_ptr<const Schema> schema, Options options, InstructionSet instructions)
    : schema_(std::move(schema)),
      options_(std::move(options)),
      utf8_(instructions),
      window_(options_.max_record_bytes),
      body_(*schema_, options_, instructions, window_) {}

bool Decoder::feed(const uint8_t* chunk, size_t size) {
  return guarded([&] {
    const int64_t offset = utf8_.take(chunk, size);
    if (offset != Utf8Check::kSound) return take_ill_formed(chunk, offset);
    // A partial character cannot be checked yet: it waits for the next chunk.
    const size_t partial = utf8_.partial();
    if (partial > size) {
      partial_.insert(partial_.end(), chunk, chunk + size);
    } else {
      take_partial();
      take(chunk, size - partial);
      partial_.assign(chunk + (size - partial), chunk + size);
    }
    fed_ += static_cast<int64_t>(size);
  });
}

bool Decoder::close() {
  return guarded([&] {
    window_.at_end = window_.is_last = true;
    take_partial();
    read(held_.data(), held_.size(), SIZE_MAX);
    if (!body_.end()) {
      verdict_ = {ErrorCode::Truncated, "", fed_, body_.path_to_here()};
    }
    held_.clear();  // The decoder may live as long as its batches.
  });
}

// Reads only the first byte of an ill-formed sequence: outside a string it is also invalid JSON.
void Decoder::take_ill_formed(const uint8_t* chunk, int64_t offset) {
  window_.is_last = true;
  window_.min_bytes = 0;
  if (offset < 0) {
    partial_.resize(1);
    take_partial();
    take(chunk, 0);
  } else {
    take_partial();
    take(chunk, static_cast<size_t>(offset) + 1);
  }
  verdict_ = {ErrorCode::Utf8, "", fed_ + offset, body_.path_to_here()};
}

// Appends the partial character to the held bytes.
void Decoder::take_partial() {
  hold(partial_.data(), partial_.size());
  waiting_ += partial_.size();
  partial_.clear();
}

void Decoder::take(const uint8_t* chunk, size_t size) {
  const size_t value_end = is_end_expected_ ? value_end_.find(chunk, size) : ValueEnd::kNone;
  if (value_end == ValueEnd::kNone && waiting_ + size < window_.min_bytes) {
    held_.append(chunk, size);
    waiting_ += size;
    return;
  }
  if (!held_.empty()) finish_held(&chunk, &size, value_end);
  if (held_.empty()) {
    read(chunk, size, SIZE_MAX);
    keep_rest();
  }
}

// Reads the held bytes and appends pieces of the chunk to them, until all that was held is read. If the end
// of the held value is expected, `value_end` bytes of the chunk belong to it, or all of them if kNone.
void Decoder::finish_held(const uint8_t** chunk, size_t* size, size_t value_end) {
  size_t old_bytes = held_.size();
  size_t copied = 0;
  const bool was_last = window_.is_last;
  const bool is_expected = std::exchange(is_end_expected_, false);
  do {
    const size_t more = is_expected && !copied ? value_end : std::max(held_.size(), kPieceBytes);
    const size_t piece = std::min(*size - copied, more);
    hold(*chunk + copied, piece);
    copied += piece;
    window_.is_last = was_last && copied == *size;
    read(held_.data(), held_.size(), old_bytes);
    const size_t index = window_.index;
    if (index >= old_bytes) {
      const size_t used = copied - (held_.size() - index);
      window_.position += static_cast<int64_t>(index);
      *chunk += used;
      *size -= used;
      held_.clear();
      is_end_expected_ = false;
      window_.index = 0;
      window_.is_last = was_last;
      return;
    }
    old_bytes -= index;
    is_end_expected_ = is_end_expected_ || (is_expected && value_end == ValueEnd::kNone);
    keep_rest();
  } while (copied < *size);
}

void Decoder::hold(const uint8_t* bytes, size_t size) {
  held_.append(bytes, size);
  if (is_end_expected_ && value_end_.find(bytes, size) != ValueEnd::kNone) is_end_expected_ = false;
}

// Looks for the end of the held value, which was not held before.
void Decoder::expect_end() {
  value_end_.begin();
  is_end_expected_ = window_.min_bytes > 0 &&
                     value_end_.find(held_.data(), held_.size()) == ValueEnd::kNone &&
                     value_end_.is_open();
}

// Holds the bytes that the current state needs again.
void Decoder::keep_rest() {
  const auto [data, size] = window_.text;
  const size_t index = window_.index;
  const bool is_another = index > 0 || held_.empty();
  window_.position += static_cast<int64_t>(index);
  if (data == held_.data() && !held_.empty()) {
    held_.drop(index);
  } else {
    held_.clear();
    held_.append(data + index, size - index);
  }
  window_.index = 0;
  if (is_another) expect_end();
  if (!is_end_expected_) return;
  const size_t most = window_.max_bytes + 1 - held_.size();
  window_.min_bytes = std::min((kMostGrowth - 1) * held_.size(), most);
}

void Decoder::read(const uint8_t* data, size_t size, size_t leave_at) {
  window_.text = {data, size};
  window_.index = 0;
  window_.leave_at = leave_at;
  waiting_ = window_.min_bytes = 0;
  body_.read();
}

template <class Work>
bool Decoder::guarded(Work work) {
  try {
    try {
      work();
    } catch (const Malformed& malformed) {
      set_verdict(malformed);
    } catch (const CapacityExceeded&) {
      verdict_ = {ErrorCode::BatchText, "", window_.position + static_cast<int64_t>(window_.index),
                  body_.path()};
    }
    prefer_misfit();
  } catch (const std::bad_alloc&) {  // Also while building the verdict.
    verdict_.code = ErrorCode::Memory;
  }
  return verdict_.code == ErrorCode::None;
}

// A misfit that was held comes before other errors. Reports are not among them: they are remarks. A truncated
// body stays one, because the rest of the report may be missing.
void Decoder::prefer_misfit() {
  const Verdict* const misfit = body_.held_misfit();
  const bool is_over = verdict_.code == ErrorCode::None && window_.at_end;
  const bool is_later = verdict_.code != ErrorCode::None && verdict_.code != ErrorCode::Truncated;
  if (misfit && (is_over || is_later)) verdict_ = *misfit;
}

void Decoder::set_verdict(const Malformed& malformed) {
  verdict_ = {malformed.code, malformed.argument,
              window_.position + static_cast<int64_t>(malformed.index),
              joined(body_.path(), malformed.path)};
  if (malformed.code == ErrorCode::MaxDepth) {
    verdict_.argument = std::to_string(options_.max_depth);
    return;
  }
  // A value that is too long was not read completely; one that does not fit is in the argument.
  if (malformed.code == ErrorCode::MaxRecordBytes || malformed.code == ErrorCode::Misfit ||
      malformed.code == ErrorCode::RowKey) {
    return;
  }
  const size_t end = malformed.index + 1;
  const size_t since =
      std::max(std::min(malformed.quoted_from, malformed.index), end - std::min(end, kQuotedBytes));
  verdict_.quoted.assign(reinterpret_cast<const char*>(window_.text.data + since), end - since);
}

}  // namespace streamlic
