// The instruction set that the including file chose. For an editor that opens a file of this folder by
// itself, with the flags in compile_flags.txt, the best set of its processor.
#pragma once

#include "core/reader/generic/dependencies.h"

#if !defined(STREAMLIC_ISA)
#if defined(STREAMLIC_HAS_AVX2)
#include "core/reader/isa/avx2-inl.h"
#elif defined(STREAMLIC_HAS_NEON)
#include "core/reader/isa/neon-inl.h"
#else
#include "core/reader/isa/scalar-inl.h"
#endif
#endif
