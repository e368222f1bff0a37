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
  if (given == 3) throw Malformed{"expected JSON, got a byte-order mark", index, {}};
  return !is_last;
}

size_t Window::value_end(size_t start, int depth, const Step& step) const {
  try {
    const size_t end = streamlic::value_end(text, start, depth, at_end);
    check_bytes(end - 1);
    return end;
  } catch (Malformed& malformed) {
    if (malformed.fault == Fault::TooLong) throw;
    malformed.path.insert(malformed.path.begin(), step);
    malformed.quoted_from = start;
    check_bytes(malformed.index);
    throw;
  } catch (Unfinished& stop) {
    stop.path.insert(stop.path.begin(), step);
    throw;
  }
}

void Window::check_bytes(size_t last) const {
  if (last - index >= max_bytes) {
    throw Malformed{"expected at most " + std::to_string(max_bytes) +
                        " bytes in one value (max_record_bytes)",
                    index + max_bytes,
                    {},
                    Fault::TooLong};
  }
}

void Window::wait_for_more() {
  check_bytes(text.size - 1);
  const size_t held = text.size - index;
  min_bytes = std::min(held, max_bytes + 1 - held);
}

}  // namespace streamlic
