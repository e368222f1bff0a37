// The instruction set that the including file chose; the scalar one where it chose none, as an editor
// that opens a file of this folder by itself.
#pragma once

#include "core/reader/generic/dependencies.h"

#if !defined(STREAMLIC_ISA)
#include "core/reader/isa/scalar-inl.h"
#endif
