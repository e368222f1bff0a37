// Converts the text of a JSON number to a value. The text must be a valid number.
#pragma once

#include <cstddef>
#include <cstdint>

namespace streamlic {

// Whether the number has neither a fraction nor an exponent.
bool is_integer(const uint8_t* text, size_t size);

// Converts integers in range, also `12.0` and `1e3`; returns false for any other number.
bool to_int64(const uint8_t* text, size_t size, int64_t* value);

// Rounds to nearest, ties to even; returns false if the result is not finite.
bool to_double(const uint8_t* text, size_t size, double* value);

}  // namespace streamlic
