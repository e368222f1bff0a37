// All headers that the files in this folder need.
//
// The files in this folder are compiled once for each instruction set: scalar.cpp, sse2.cpp, avx2.cpp and
// neon.cpp in the parent folder include them.
//
// Rules:
// 1. The files in this folder include this header and each other, nothing else.
// 2. All their declarations are in the namespace streamlic::STREAMLIC_ISA, which differs for each set.
// 3. This header is included before the compiler switches to the instructions of the set.
// Reason: the linker keeps one copy of each inline function, of std:: or of the core, from any file. If that
// copy were compiled for AVX2, a processor without AVX2 would fail at an illegal instruction.
#pragma once

#if defined(STREAMLIC_ISA)
#error "core/reader/generic/dependencies.h must come before the instruction set"
#endif

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "core/arrow/columns.h"
#include "core/compiler.h"
#include "core/instruction_set.h"
#include "core/json/numbers.h"
#include "core/json/text.h"
#include "core/json/timestamps.h"
#include "core/reader/keys.h"
#include "core/reader/record_reader.h"

#if defined(STREAMLIC_HAS_SSE2)
#include <immintrin.h>
#elif defined(STREAMLIC_HAS_NEON)
#include <arm_neon.h>
#endif

// A block and its bitmap fit the L1 cache. A multiple of 64; fuzzing sets a smaller one.
#ifndef STREAMLIC_BLOCK_BYTES
#define STREAMLIC_BLOCK_BYTES 8192
#endif
