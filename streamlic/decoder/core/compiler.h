// Hints to the compiler that are not standard C++: which branch is rare, what to inline, and which
// instructions to use.
#pragma once

namespace streamlic {

#if defined(__GNUC__)
constexpr inline __attribute__((always_inline)) bool likely(bool condition) {
  return __builtin_expect_with_probability(condition, true, 0.995);
}
constexpr inline __attribute__((always_inline)) bool unlikely(bool condition) {
  return __builtin_expect_with_probability(condition, false, 0.995);
}
#else
constexpr bool likely(bool condition) { return condition; }
constexpr bool unlikely(bool condition) { return condition; }
#endif

}  // namespace streamlic

#define STREAMLIC_ALWAYS_INLINE inline __attribute__((always_inline))
#define STREAMLIC_NOINLINE __attribute__((noinline))

// Functions between the two may use these instructions. Between them, include only headers of
// core/reader/generic: its dependencies.h says why.
#define STREAMLIC_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define STREAMLIC_TARGET_REGION(instructions) \
  STREAMLIC_PRAGMA(clang attribute push(__attribute__((target(instructions))), apply_to = function))
#define STREAMLIC_END_TARGET_REGION STREAMLIC_PRAGMA(clang attribute pop)
#else
#define STREAMLIC_TARGET_REGION(instructions) \
  STREAMLIC_PRAGMA(GCC push_options)          \
  STREAMLIC_PRAGMA(GCC target(instructions))
#define STREAMLIC_END_TARGET_REGION STREAMLIC_PRAGMA(GCC pop_options)
#endif
