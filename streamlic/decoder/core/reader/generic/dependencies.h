// All headers that the files in this folder need.
//
// The record reader is compiled once for each instruction set, by one file beside this folder (scalar.cpp,
// sse2.cpp, avx2.cpp, neon.cpp), always from the same source: the files in this folder.
//
// Rules:
// 1. The files in this folder include this header and each other, nothing else.
// 2. All that they declare is in the namespace streamlic::STREAMLIC_ISA, which differs for each set.
// 3. This header is included before the compiler is switched to the instructions of the set.
// The linker keeps one copy of an inline function, of std:: or of the core, whichever file it comes from.
// If that copy were compiled for AVX2, code that never asked for AVX2 would end in an illegal instruction.
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

// A block and its bitmap stay in the nearest cache. A multiple of 64; fuzzing takes less than others.
#ifndef STREAMLIC_BLOCK_BYTES
#define STREAMLIC_BLOCK_BYTES 8192
#endif
