// The sets of instructions that the quick loops are written for.
#pragma once

#include <cstdint>

#if defined(__x86_64__) && defined(__GNUC__)
#define STREAMLIC_AVX2 1
#endif

namespace streamlic {

enum class Simd : uint8_t { Plain, Sse2, Avx2 };

// The best that this build and this processor have.
inline Simd best_simd() {
#if defined(STREAMLIC_AVX2)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
      __builtin_cpu_supports("bmi2")) {
    return Simd::Avx2;
  }
#endif
#if defined(__SSE2__)
  return Simd::Sse2;
#else
  return Simd::Plain;
#endif
}

}  // namespace streamlic
