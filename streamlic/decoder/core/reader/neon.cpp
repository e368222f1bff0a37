// The record reader and the UTF-8 check for NEON.
#include "core/reader/generic/dependencies.h"

#if defined(STREAMLIC_HAS_NEON)

#include "core/reader/isa/neon-inl.h"

#include "core/reader/generic/record_reader-inl.h"
#include "core/reader/generic/utf8-inl.h"

#endif
