// The record reader for SSE2.
#include "core/reader/generic/dependencies.h"

#if defined(STREAMLIC_HAS_SSE2)

#include "core/reader/isa/sse2-inl.h"

#include "core/reader/generic/record_reader-inl.h"

#endif
