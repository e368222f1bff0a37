// The record reader without vector instructions.
#include "core/reader/generic/dependencies.h"

#include "core/reader/isa/scalar-inl.h"

#include "core/reader/generic/record_reader-inl.h"
