#include "core/body/window.h"

#include <cstring>

namespace streamlic {

namespace {

constexpr uint8_t kByteOrderMark[] = {0xEF, 0xBB, 0xBF};

}  // namespace

bool Window::has_byte() {
  index = after_white_space(text, index);
  return index < text.size;
}

bool Window::may_be_byte_order_mark() const {
  const size_t given = std::min<size_t>(text.size - index, 3);
  if (std::memcmp(text.data + index, kByteOrderMark, given) != 0) return false;
  if (given == 3) throw Malformed{ErrorCode::ByteOrderMark, index, {}};
  return !is_last;
}

Scan Window::scan_value(size_t start, int depth, const Step& step) const {
  try {
    Scan scan = streamlic::scan_value(text, start, depth, at_end);
    if (scan.is_partial()) {
      scan.path.insert(scan.path.begin(), step);
    } else {
      check_bytes(scan.end - 1);
    }
    return scan;
  } catch (Malformed& malformed) {
    if (malformed.code == ErrorCode::MaxRecordBytes) throw;
    malformed.path.insert(malformed.path.begin(), step);
    malformed.quoted_from = start;
    check_bytes(malformed.index);
    throw;
  }
}

void Window::check_bytes(size_t last) const {
  if (last - index >= max_bytes) {
    throw Malformed{ErrorCode::MaxRecordBytes, index + max_bytes, {}, std::to_string(max_bytes)};
  }
}

void Window::wait_for_more() {
  check_bytes(text.size - 1);
  const size_t held = text.size - index;
  min_bytes = std::min(held, max_bytes + 1 - held);
}

}  // namespace streamlic
