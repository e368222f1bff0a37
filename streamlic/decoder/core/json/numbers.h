// The text of a JSON number to a value. The text is known to be a valid number.
#pragma once

#include <cstddef>
#include <cstdint>

namespace streamlic {

// Whether it has neither a fraction nor an exponent.
bool is_integer(const uint8_t* text, size_t size);

// Whole numbers in range, `12.0` and `1e3` included; false for any other.
bool to_int64(const uint8_t* text, size_t size, int64_t* value);

// Rounded to nearest, ties to even; false where that is not finite.
bool to_double(const uint8_t* text, size_t size, double* value);

}  // namespace streamlic
