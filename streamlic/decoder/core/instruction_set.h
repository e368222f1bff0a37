// The instruction sets that the core is compiled for.
#pragma once

#include <cstdint>

#if defined(__x86_64__) && defined(__GNUC__)
#define STREAMLIC_HAS_SSE2 1
#define STREAMLIC_HAS_AVX2 1
#elif defined(__aarch64__) && defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define STREAMLIC_HAS_NEON 1
#endif

namespace streamlic {

enum class InstructionSet : uint8_t { Scalar, Sse2, Avx2, Neon };

// The best instruction set that both this build and this processor have.
inline InstructionSet best_instruction_set() {
#if defined(STREAMLIC_HAS_NEON)
  return InstructionSet::Neon;
#elif defined(STREAMLIC_HAS_AVX2)
  __builtin_cpu_init();
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
                        __builtin_cpu_supports("bmi2");
  return has_avx2 ? InstructionSet::Avx2 : InstructionSet::Sse2;
#else
  return InstructionSet::Scalar;
#endif
}

// `wanted` if it is available, else the best one.
inline InstructionSet usable_instruction_set(InstructionSet wanted) {
  const InstructionSet best = best_instruction_set();
  const bool is_older = best == InstructionSet::Avx2 && wanted == InstructionSet::Sse2;
  return wanted == InstructionSet::Scalar || is_older ? wanted : best;
}

}  // namespace streamlic
