// The part of the body that is in memory, and how far it was read.
//
// Rules:
// 1. The index stays at a value that is not complete: the next window begins with it.
// 2. No record, and no other member, is longer than `max_bytes`, including its key.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/json/scanner.h"

namespace streamlic {

struct Window {
  explicit Window(int64_t max_record_bytes) : max_bytes(static_cast<size_t>(max_record_bytes)) {}

  // Skips white space; returns whether a byte follows.
  bool has_byte();

  // Throws at a byte order mark; returns whether the bytes may be the start of one.
  bool may_be_byte_order_mark() const;

  // Scans the value that begins at `start`, at `step` in its container; `depth` brackets may be open in it.
  Scan scan_value(size_t start, int depth, const Step& step) const;

  // Throws if the bytes from the index to `last` are more than allowed.
  void check_bytes(size_t last) const;

  // Waits until the unfinished value at the index has doubled.
  void wait_for_more();

  const size_t max_bytes;
  int64_t position = 0;  // of the first byte in the body
  Text text{nullptr, 0};
  size_t index = 0;
  size_t leave_at = SIZE_MAX;  // stop here: the caller reads the rest in another window
  size_t min_bytes = 0;        // do not read again before this many new bytes arrived
  bool is_last = false;        // do not wait for more bytes
  bool at_end = false;         // the body ends with the window
};

}  // namespace streamlic
