// What is nearly always so, or nearly never, told to the compiler: it puts the other case out of the way.
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
