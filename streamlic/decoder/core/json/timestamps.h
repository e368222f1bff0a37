// Converts ISO 8601 date-times in extended format to microseconds since 1970-01-01T00:00Z.
#pragma once

#include <cstddef>
#include <cstdint>

namespace streamlic {

// Accepts `T`, `t` or a space between date and time. Seconds may be absent; a fraction of any length is
// truncated to microseconds. `Z`, an offset (`+02`, `+0200`, `+02:00`), or neither, which means UTC; a date
// alone is midnight UTC. Years 1 to 9999, also in UTC. No leap second, no hour 24. Returns false for any
// other text.
bool to_timestamp(const uint8_t* text, size_t size, int64_t* microseconds);

}  // namespace streamlic
