// Exports a batch through the Arrow C data interface, without a copy.
// https://arrow.apache.org/docs/format/CDataInterface.html
#pragma once

#include <cstdint>
#include <memory>

#include "core/arrow/columns.h"

extern "C" {
struct ArrowArray {
  int64_t length;
  int64_t null_count;
  int64_t offset;
  int64_t n_buffers;
  int64_t n_children;
  const void** buffers;
  ArrowArray** children;
  ArrowArray* dictionary;
  void (*release)(ArrowArray*);
  void* private_data;
};
}

namespace streamlic {

// Fills `array` with a struct array of the batch's columns. They live as long as any part of it.
void export_batch(std::unique_ptr<Batch> batch, ArrowArray* array);

// Releases an array that `export_batch` filled, unless it was imported.
void release_array(ArrowArray* array);

}  // namespace streamlic
