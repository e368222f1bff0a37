// ISO 8601 date-times in extended format to microseconds since 1970-01-01T00:00Z.
#pragma once

#include <cstddef>
#include <cstdint>

namespace streamlic {

// `T`, `t` or a space; seconds may be absent; a fraction of any length is truncated to microseconds;
// `Z`, an offset (`+02`, `+0200`, `+02:00`) or none, which is UTC; a date alone is midnight UTC. Years
// 1 to 9999, after the offset too. No leap second, no hour 24. False for any other text.
bool to_timestamp(const uint8_t* text, size_t size, int64_t* microseconds);

}  // namespace streamlic
