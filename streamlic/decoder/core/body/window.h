// The part of the body that lies in memory, and how far it was read.
//
// Rules:
// 1. What cannot be read to its end is left at the index: the next window begins with it.
// 2. No record, and no other member, is longer than `max_bytes`, its key included.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/json/scanner.h"

namespace streamlic {

struct Window {
  explicit Window(int64_t max_record_bytes) : max_bytes(static_cast<size_t>(max_record_bytes)) {}

  // Goes over white space; returns whether a byte follows.
  bool has_byte();

  // Throws at a byte-order mark; returns whether more bytes could make it one.
  bool may_be_byte_order_mark() const;

  // Scans the value that begins at `start`, below `step`; `depth` brackets may be open within it.
  Scan scan_value(size_t start, int depth, const Step& step) const;

  // Throws where what begins at the index and reaches to `last` is longer than allowed.
  void check_bytes(size_t last) const;

  // Waits for as many bytes again as there are of what begins at the index.
  void wait_for_more();

  const size_t max_bytes;
  int64_t position = 0;  // of the first byte in the body
  Text text{nullptr, 0};
  size_t index = 0;
  size_t leave_at = SIZE_MAX;  // from here on it is read elsewhere
  size_t min_bytes = 0;        // to wait for: fewer would not end what is read
  bool is_last = false;        // nothing follows that is worth waiting for
  bool at_end = false;         // nothing follows
};

}  // namespace streamlic
