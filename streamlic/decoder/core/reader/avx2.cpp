// The record reader and the UTF-8 check for AVX2. generic/dependencies.h explains the order of includes.
#include "core/reader/generic/dependencies.h"

#if defined(STREAMLIC_HAS_AVX2)

#include "core/reader/isa/avx2-inl.h"

STREAMLIC_TARGET_REGION("avx2,bmi,bmi2")

#include "core/reader/generic/record_reader-inl.h"
#include "core/reader/generic/utf8-inl.h"

STREAMLIC_END_TARGET_REGION

#endif
