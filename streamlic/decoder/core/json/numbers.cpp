#include "core/json/numbers.h"

#include <charconv>
#include <string>
#include <string_view>

// libc++, as on macOS, has no std::from_chars for doubles in most versions.
#if !defined(__cpp_lib_to_chars) && !defined(STREAMLIC_STRTOD)
#define STREAMLIC_STRTOD 1
#endif

#if defined(STREAMLIC_STRTOD)
#include <locale.h>
#include <stdlib.h>
#if defined(__APPLE__)
#include <xlocale.h>
#endif
#endif

namespace streamlic {

namespace {

// The double nearest to a number; false if it is out of range.
bool nearest(const uint8_t* text, size_t size, double* value) {
#if defined(STREAMLIC_STRTOD)
  static const locale_t plain =
      newlocale(LC_ALL_MASK, "C", locale_t{});  // the decimal point is "."
  const std::string number(reinterpret_cast<const char*>(text), size);
  *value = strtod_l(number.c_str(), nullptr, plain);
  return *value - *value == 0;
#else
  const char* const begin = reinterpret_cast<const char*>(text);
  return std::from_chars(begin, begin + size, *value).ec == std::errc();
#endif
}

// A number's parts: value = digits * 10^exponent, without leading and trailing zeros.
// The exponent is clipped to a size that no number of digits can compensate.
struct Decimal {
  bool is_negative = false;
  bool is_integer = true;
  const uint8_t* first = nullptr;  // the first digit other than zero
  const uint8_t* last = nullptr;   // the last such digit
  int64_t exponent = 0;            // of the last digit
  int64_t digits = 0;              // from the first to the last
};

constexpr int64_t kExponentLimit = int64_t{1} << 40;

Decimal parts_of(const uint8_t* text, size_t size) {
  Decimal parts;
  const uint8_t* const end = text + size;
  if (*text == '-') {
    parts.is_negative = true;
    ++text;
  }
  int64_t place = 0;  // digits after the point so far
  int64_t since_last = 0;
  bool is_fraction = false;
  for (; text < end && (*text | 0x20) != 'e'; ++text) {
    if (*text == '.') {
      is_fraction = true;
      parts.is_integer = false;
      continue;
    }
    place += is_fraction;
    ++since_last;
    if (*text != '0') {
      if (!parts.first) {
        parts.first = text;
        since_last = 1;
      }
      parts.digits += since_last;
      parts.last = text;
      parts.exponent = -place;
      since_last = 0;
    }
  }
  if (!is_fraction && parts.first) parts.exponent = since_last;
  if (is_fraction && parts.first && parts.exponent == 0) {
    // The last digit is before the point: count the zeros between the two.
    const uint8_t* at = parts.last + 1;
    while (*at == '0') {
      ++at;
      ++parts.exponent;
    }
  }
  if (text < end) {
    parts.is_integer = false;
    ++text;
    const bool is_down = *text == '-';
    if (*text == '-' || *text == '+') ++text;
    int64_t exponent = 0;
    for (; text < end; ++text) {
      exponent = exponent * 10 + (*text - '0');
      if (exponent > kExponentLimit) exponent = kExponentLimit;
    }
    parts.exponent += is_down ? -exponent : exponent;
  }
  return parts;
}

}  // namespace

bool is_integer(const uint8_t* text, size_t size) {
  const std::string_view number(reinterpret_cast<const char*>(text), size);
  return number.find_first_of(".eE") == std::string_view::npos;
}

bool to_int64(const uint8_t* text, size_t size, int64_t* value) {
  const Decimal parts = parts_of(text, size);
  if (!parts.first) {
    *value = 0;
    return true;
  }
  if (parts.exponent < 0 || parts.digits + parts.exponent > 19) return false;
  uint64_t number = 0;  // 19 digits fit
  for (const uint8_t* at = parts.first; at <= parts.last; ++at) {
    if (*at != '.') number = number * 10 + (*at - '0');
  }
  for (int64_t i = 0; i < parts.exponent; ++i) number *= 10;
  const uint64_t limit = uint64_t{1} << 63;
  if (number > limit || (number == limit && !parts.is_negative)) return false;
  *value = static_cast<int64_t>(parts.is_negative ? ~number + 1 : number);
  return true;
}

bool to_double(const uint8_t* text, size_t size, double* value) {
  if (nearest(text, size, value)) {
    if (*value == 0 && is_integer(text, size)) *value = 0;  // The integer -0 has no sign.
    return *value - *value == 0;
  }
  const Decimal parts = parts_of(text, size);  // Out of range: overflow or underflow.
  if (parts.first && parts.digits + parts.exponent > 0) return false;
  *value = parts.is_negative && !parts.is_integer ? -0.0 : 0.0;
  return true;
}

}  // namespace streamlic
