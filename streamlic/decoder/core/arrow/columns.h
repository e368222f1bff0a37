// Builds the columns of one batch, in Arrow's layout.
//
// Rules:
// 1. A value is written at a row. Skipped rows are null, and cost nothing until the next value.
// 2. Rows below `length` cannot be written again: `truncate` first. This undoes a repeated key, and a
//    record that turns out to be incomplete.
// 3. A struct's children have the struct's rows; a list's child has rows of its own, counted by
//    `elements`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/arrow/buffer.h"
#include "core/compiler.h"

// The bytes that 32-bit offsets address. A power of two; tests set a smaller one.
#ifndef STREAMLIC_MOST_TEXT
#define STREAMLIC_MOST_TEXT (size_t{1} << 31)
#endif

namespace streamlic {

enum class Kind : uint8_t {
  String,
  Int64,
  Double,
  Bool,
  Timestamp,
  Struct,
  List,     // of structs: the one child
  Json,     // JSON text of any value
  Rescued,  // JSON text of the values that did not fit
  Record,   // JSON text of the whole record
};

// A column of the schema: its name, its type, and its child fields.
struct Field {
  std::string name;
  Kind kind = Kind::String;
  std::vector<Field> children;
};

// A row's number, and where its bit is.
struct Row {
  explicit Row(int64_t number)
      : index(number),
        byte(static_cast<size_t>(number >> 3)),
        bit(static_cast<uint8_t>(1u << (number & 7))) {}
  int64_t index;
  size_t byte;
  uint8_t bit;
};

class alignas(128) ColumnBuilder {
 public:
  static constexpr int64_t kMostOffsets = INT32_MAX;
  // No text buffer is ever larger: offsets can address all of it.
  static constexpr size_t kMostText = STREAMLIC_MOST_TEXT;
  static constexpr int64_t kStride = 8;

  explicit ColumnBuilder(const Field& field);

  Kind kind() const { return kind_; }
  int64_t elements() const { return last_offset_; }
  std::vector<ColumnBuilder>& children() { return children_; }
  const std::vector<ColumnBuilder>& children() const { return children_; }
  const Buffer& validity() const { return validity_; }
  const Buffer& values() const { return values_; }
  const Buffer& data() const { return data_; }

  // Makes room for `rows` rows. Call it before writing them.
  void make_room(int64_t rows) {
    if (unlikely(rows > capacity_)) grow_rows(rows);
  }
  int64_t capacity() const { return capacity_; }

  // Makes the value of `row` valid, and the rows between the last value and it null.
  void open(const Row& row) {
    validity_.data()[row.byte] |= row.bit;
    length_ = row.index + 1;
  }
  void open_offsets(const Row& row) {
    pass(row.index, values_.as<int32_t>(), last_offset_);
    validity_.data()[row.byte] |= row.bit;
    length_ = row.index + 1;
  }

  void put_int64(const Row& row, int64_t value) {
    open(row);
    values_.as<int64_t>()[row.index] = value;
  }

  void put_double(const Row& row, double value) {
    open(row);
    values_.as<double>()[row.index] = value;
  }

  void put_bool(const Row& row, bool value) {
    open(row);
    uint8_t& byte = values_.as<uint8_t>()[row.byte];
    byte = static_cast<uint8_t>((byte & ~row.bit) | (row.bit & -int{value}));
  }

  // Makes the value of `row` a text of `bytes` bytes. Returns where to write them; 64 bytes more may be
  // overwritten.
  uint8_t* add_text(const Row& row, size_t bytes) {
    const int32_t begin = last_offset_;
    int32_t* const offsets = values_.as<int32_t>();
    pass(row.index, offsets, begin);
    validity_.data()[row.byte] |= row.bit;
    length_ = row.index + 1;
    const auto used = static_cast<size_t>(begin);
    if (unlikely(used + bytes + 64 > data_.capacity())) grow_text(used, bytes);
    last_offset_ = offsets[row.index + 1] = begin + static_cast<int32_t>(bytes);
    return data_.data() + used;
  }
  // Whether `bytes` bytes of text may be added.
  bool has_room_for(size_t bytes) const {
    return bytes <= kMostText - 64 - static_cast<size_t>(last_offset_);
  }
  // Removes `bytes` bytes from the end of the last text.
  void shorten_text(const Row& row, size_t bytes) {
    last_offset_ -= static_cast<int32_t>(bytes);
    values_.as<int32_t>()[row.index + 1] = last_offset_;
  }
  void put_text(const Row& row, const void* text, size_t bytes) {
    std::memcpy(add_text(row, bytes), text, bytes);
  }

  // To write a text of unknown size: `begin_text`, `with_room` before each piece, and `end_text`.
  uint8_t* begin_text(const Row& row) {
    open_offsets(row);
    return data_.data() + last_offset_;
  }
  // Makes room for `bytes` bytes at `out`. Returns where to write them; 64 bytes more may be overwritten.
  uint8_t* with_room(uint8_t* out, size_t bytes) {
    const auto used = static_cast<size_t>(out - data_.data());
    if (unlikely(used + bytes + 64 > data_.capacity())) grow_text(used, bytes);
    return data_.data() + used;
  }
  void end_text(const Row& row, const uint8_t* out) {
    last_offset_ = static_cast<int32_t>(out - data_.data());
    values_.as<int32_t>()[row.index + 1] = last_offset_;
  }

  // To write a list: `open_offsets`, `next_element` for each element, `end_list`.
  int64_t next_element() {
    if (unlikely(last_offset_ == kMostOffsets)) throw CapacityExceeded();
    children_[0].make_room(last_offset_ + 1);
    return last_offset_++;
  }
  void end_list(const Row& row) { values_.as<int32_t>()[row.index + 1] = last_offset_; }

  // Removes `row` and all rows after it.
  void truncate(int64_t row);
  // Completes the column at `rows` rows.
  void finish(int64_t rows);
  // Frees the memory that a finished column of `rows` rows does not need.
  void trim(int64_t rows);
  // Makes room for `rows` rows, and for `times` the text and elements of `other`, which may be this.
  void reserve_like(const ColumnBuilder& other, int64_t rows, double times);
  int64_t null_count(int64_t rows) const;
  bool is_valid(const Row& row) const { return validity_.data()[row.byte] & row.bit; }

 private:
  bool has_offsets() const { return kind_ == Kind::String || kind_ >= Kind::List; }
  // Nearly always few rows are skipped, or none: always writing kStride offsets saves a branch.
  void pass(int64_t row, int32_t* offsets, int32_t last) {
    int32_t* const passed = offsets + length_ + 1;
    for (int64_t i = 0; i < kStride; ++i) passed[i] = last;
    if (unlikely(row - length_ > kStride)) pass_many(row);
  }
  void pass_many(int64_t row);
  void grow_rows(int64_t rows);
  void grow_text(size_t used, size_t bytes);

  Kind kind_;
  int64_t length_ = 0;
  int64_t capacity_ = 0;
  int32_t last_offset_ = 0;  // where the text or the elements end
  Buffer validity_;
  Buffer values_;  // or offsets
  Buffer data_;    // text
  std::vector<ColumnBuilder> children_;
};

// The columns of one batch, the number of its rows, and the bytes of JSON they were read from.
struct Batch {
  explicit Batch(const std::vector<Field>& schema);
  void rollback();
  void finish();
  // Frees the memory that a finished batch does not need.
  void trim();
  // Makes room for `times` the content of `other`, which may be this batch.
  void reserve_like(const Batch& other, double times);

  std::vector<ColumnBuilder> columns;
  int64_t rows = 0;
  int64_t bytes = 0;
};

}  // namespace streamlic
