#include "core/arrow/columns.h"

#include <algorithm>

namespace streamlic {

namespace {

constexpr int64_t kFirstRows = 1024;

void grow_bits(Buffer& bits, int64_t had, int64_t rows) {
  const auto kept = static_cast<size_t>((had + 7) / 8);
  const auto needed = static_cast<size_t>((rows + 7) / 8);
  bits.reserve(needed, kept);
  std::memset(bits.data() + kept, 0, needed - kept);
}

int64_t times_as_many(int64_t count, double times) {
  return static_cast<int64_t>(static_cast<double>(count) * times);
}

}  // namespace

ColumnBuilder::ColumnBuilder(const Field& field) : kind_(field.kind) {
  children_.reserve(field.children.size());
  for (const Field& child : field.children) children_.emplace_back(child);
}

void ColumnBuilder::grow_rows(int64_t rows) {
  const int64_t needed = std::max({kFirstRows, capacity_ * 2, (rows + 63) & ~int64_t{63}});
  grow_bits(validity_, capacity_, needed);
  if (kind_ == Kind::Bool) {
    grow_bits(values_, capacity_, needed);
  } else if (has_offsets()) {
    const bool is_new = capacity_ == 0;
    values_.reserve(static_cast<size_t>(needed + 1 + kStride) * sizeof(int32_t),
                    is_new ? 0 : static_cast<size_t>(capacity_ + 1) * sizeof(int32_t));
    if (is_new) values_.as<int32_t>()[0] = 0;
  } else if (kind_ != Kind::Struct) {
    const size_t kept = static_cast<size_t>(capacity_) * 8;
    values_.reserve(static_cast<size_t>(needed) * 8, kept);
    std::memset(values_.data() + kept, 0, static_cast<size_t>(needed) * 8 - kept);
  }
  capacity_ = needed;
  if (kind_ == Kind::Struct) {
    for (ColumnBuilder& child : children_) child.make_room(needed);
  }
}

void ColumnBuilder::grow_text(size_t used, size_t bytes) {
  if (bytes > kMostText - 64 - used) throw CapacityExceeded();
  data_.reserve(used + bytes + 64, used);
}

void ColumnBuilder::pass_many(int64_t row) {
  int32_t* const offsets = values_.as<int32_t>();
  std::fill(offsets + length_ + 1, offsets + row + 1, last_offset_);
}

void ColumnBuilder::truncate(int64_t row) {
  if (length_ <= row) return;
  for (int64_t gone = row; gone < length_; ++gone) {
    validity_.data()[gone >> 3] &= static_cast<uint8_t>(~(1u << (gone & 7)));
  }
  length_ = row;
  if (has_offsets()) last_offset_ = values_.as<int32_t>()[row];
  for (ColumnBuilder& child : children_) child.truncate(kind_ == Kind::List ? last_offset_ : row);
}

void ColumnBuilder::finish(int64_t rows) {
  make_room(std::max<int64_t>(rows, 1));  // Even no rows have one offset.
  if (has_offsets() && length_ < rows) pass_many(rows);
  length_ = rows;
  for (ColumnBuilder& child : children_) child.finish(kind_ == Kind::List ? last_offset_ : rows);
}

void ColumnBuilder::trim(int64_t rows) {
  const auto bits = static_cast<size_t>((rows + 7) / 8);
  validity_.trim(bits);
  if (kind_ == Kind::Bool) {
    values_.trim(bits);
  } else if (has_offsets()) {
    values_.trim(static_cast<size_t>(rows + 1) * sizeof(int32_t));
    if (kind_ != Kind::List) data_.trim(static_cast<size_t>(last_offset_));
  } else {
    values_.trim(static_cast<size_t>(rows) * 8);
  }
  capacity_ = rows;
  for (ColumnBuilder& child : children_) child.trim(kind_ == Kind::List ? last_offset_ : rows);
}

void ColumnBuilder::reserve_like(const ColumnBuilder& other, int64_t rows, double times) {
  make_room(rows);
  if (other.data_.capacity()) {
    const double bytes = static_cast<double>(other.last_offset_) * times * 1.125 + 64;
    data_.reserve(static_cast<size_t>(std::min(bytes, static_cast<double>(kMostText))),
                  static_cast<size_t>(last_offset_));
  }
  const int64_t inner = kind_ == Kind::List ? times_as_many(other.last_offset_, times) : rows;
  for (size_t i = 0; i < children_.size(); ++i) {
    children_[i].reserve_like(other.children_[i], inner, times);
  }
}

int64_t ColumnBuilder::null_count(int64_t rows) const {
  int64_t valid = 0;
  const auto whole = static_cast<size_t>(rows / 64);
  for (size_t i = 0; i < whole; ++i) {
    uint64_t word;
    std::memcpy(&word, validity_.data() + i * 8, 8);
    valid += __builtin_popcountll(word);
  }
  for (int64_t row = static_cast<int64_t>(whole) * 64; row < rows; ++row) {
    valid += validity_.data()[row >> 3] >> (row & 7) & 1;
  }
  return rows - valid;
}

Batch::Batch(const std::vector<Field>& schema) {
  columns.reserve(schema.size());
  for (const Field& field : schema) columns.emplace_back(field);
}

void Batch::rollback() {
  for (ColumnBuilder& column : columns) column.truncate(rows);
}

void Batch::finish() {
  for (ColumnBuilder& column : columns) column.finish(rows);
}

void Batch::trim() {
  for (ColumnBuilder& column : columns) column.trim(rows);
}

void Batch::reserve_like(const Batch& other, double times) {
  const int64_t expected = times_as_many(other.rows, times);
  for (size_t i = 0; i < columns.size(); ++i) {
    columns[i].reserve_like(other.columns[i], expected, times);
  }
}

}  // namespace streamlic
