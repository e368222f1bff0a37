#include "core/arrow/arrow_export.h"

#include <vector>

namespace streamlic {

namespace {

// Keeps the memory of one array alive: children may be released separately from their parent.
struct Holder {
  std::shared_ptr<Batch> batch;
  const void* buffers[3] = {nullptr, nullptr, nullptr};
  std::vector<ArrowArray> arrays;
  std::vector<ArrowArray*> children;
};

void release(ArrowArray* array) {
  auto* const holder = static_cast<Holder*>(array->private_data);
  for (ArrowArray* child : holder->children) release_array(child);
  array->release = nullptr;
  delete holder;
}

Holder* begin(ArrowArray* array, const std::shared_ptr<Batch>& batch, int64_t rows,
              size_t children) {
  auto holder = std::make_unique<Holder>();
  holder->batch = batch;
  holder->arrays.resize(children, ArrowArray{});
  for (ArrowArray& child : holder->arrays) holder->children.push_back(&child);
  *array = ArrowArray{};
  array->length = rows;
  array->buffers = holder->buffers;
  array->n_buffers = 1;
  array->n_children = static_cast<int64_t>(children);
  array->children = holder->children.data();
  array->release = release;
  array->private_data = holder.get();
  return holder.release();
}

void export_column(const ColumnBuilder& column, int64_t rows, const std::shared_ptr<Batch>& batch,
                   ArrowArray* array) {
  Holder* const holder = begin(array, batch, rows, column.children().size());
  array->null_count = column.null_count(rows);
  if (array->null_count) holder->buffers[0] = column.validity().data();
  const Kind kind = column.kind();
  if (kind != Kind::Struct) {
    holder->buffers[1] = column.values().data();
    array->n_buffers = 2;
  }
  if (kind == Kind::String || kind > Kind::List) {
    holder->buffers[2] = column.data().data() ? column.data().data() : column.values().data();
    array->n_buffers = 3;
  }
  const int64_t child_rows = kind == Kind::List ? column.elements() : rows;
  for (size_t i = 0; i < column.children().size(); ++i) {
    export_column(column.children()[i], child_rows, batch, holder->children[i]);
  }
}

}  // namespace

void export_batch(std::unique_ptr<Batch> given, ArrowArray* array) {
  const std::shared_ptr<Batch> batch(std::move(given));
  Holder* const holder = begin(array, batch, batch->rows, batch->columns.size());
  try {
    for (size_t i = 0; i < batch->columns.size(); ++i) {
      export_column(batch->columns[i], batch->rows, batch, holder->children[i]);
    }
  } catch (...) {
    release_array(array);
    throw;
  }
}

void release_array(ArrowArray* array) {
  if (array->release) array->release(array);
}

}  // namespace streamlic
