// The errors of a body. The core returns a code and an argument; messages/error_codes.py has the message for
// each code, under the same name (`ValueOrEnd` is `VALUE_OR_END` there).
#pragma once

#include <cstddef>
#include <cstdint>

// clang-format off
#define STREAMLIC_ERROR_CODES(code)                                                              \
  code(Value) code(ValueOrEnd) code(Key) code(KeyOrEnd) code(Colon) code(CommaOrEnd) code(Digit) \
  code(Literal) code(ControlCharacter) code(Escape) code(HexDigits) code(Utf8)                   \
  code(ByteOrderMark) code(Top) code(Rows) code(SecondRows) code(KeyedRows) code(ArrayOfLines)   \
  code(LineFeed) code(End) code(Truncated) code(MaxDepth) code(MaxRecordBytes) code(BatchText)   \
  code(RowKey) code(Memory) code(Contradiction)
// clang-format on

namespace streamlic {

enum class ErrorCode : uint8_t {
  None,
  Misfit,  // with strict: a value that does not fit its column. The argument is the value's text.
#define STREAMLIC_CODE(name) name,
  STREAMLIC_ERROR_CODES(STREAMLIC_CODE)
#undef STREAMLIC_CODE
};

// The names of all codes except the first two, in order.
inline constexpr const char* kErrorCodeNames[] = {
#define STREAMLIC_CODE(name) #name,
    STREAMLIC_ERROR_CODES(STREAMLIC_CODE)
#undef STREAMLIC_CODE
};
constexpr size_t kErrorCodes = sizeof kErrorCodeNames / sizeof *kErrorCodeNames;

}  // namespace streamlic
