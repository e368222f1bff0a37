// The columns of one batch in the making, in Arrow's own layout.
//
// Rules:
// 1. A value is written at a row; the rows that were passed over are null, and cost nothing until then.
// 2. Writing below `length` is not possible: `truncate` first. So a repeated key, and a record that
//    turns out to be cut, are undone.
// 3. A struct's children have its rows; a list's child has rows of its own, counted by `elements`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/arrow/buffer.h"
#include "core/compiler.h"

// What offsets of 32 bits address. A power of two; tests take less.
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
  Json,     // text of the record's own field
  Rescued,  // JSON text of what did not fit
  Record,   // JSON text of the whole record
};

// A column of the schema: its name, its type, and the fields within.
struct Field {
  std::string name;
  Kind kind = Kind::String;
  std::vector<Field> children;
};

// A row, and where its bit is.
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
  // No buffer of text is ever larger, so that what fits one can be addressed.
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

  // Makes room for so many rows, without which none may be written.
  void make_room(int64_t rows) {
    if (unlikely(rows > capacity_)) grow_rows(rows);
  }
  int64_t capacity() const { return capacity_; }

  // Makes the value of `row` valid, and all between it and the last one null.
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

  // Makes the value of `row` a text of so many bytes. Returns where they are to be written, and 64 more
  // may be.
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
  // Whether so many bytes of text may be added.
  bool has_room_for(size_t bytes) const {
    return bytes <= kMostText - 64 - static_cast<size_t>(last_offset_);
  }
  // Takes so many bytes back from the end of the text that was added last.
  void shorten_text(const Row& row, size_t bytes) {
    last_offset_ -= static_cast<int32_t>(bytes);
    values_.as<int32_t>()[row.index + 1] = last_offset_;
  }
  void put_text(const Row& row, const void* text, size_t bytes) {
    std::memcpy(add_text(row, bytes), text, bytes);
  }

  // A list is opened, gets its elements one by one, and is closed.
  int64_t next_element() {
    if (unlikely(last_offset_ == kMostOffsets)) throw CapacityExceeded();
    children_[0].make_room(last_offset_ + 1);
    return last_offset_++;
  }
  void end_list(const Row& row) { values_.as<int32_t>()[row.index + 1] = last_offset_; }

  // Forgets `row` and all after it.
  void truncate(int64_t row);
  // Makes it a whole column of `rows` rows.
  void finish(int64_t rows);
  // Gives back the room that these rows, which are all, do not need.
  void trim(int64_t rows);
  // Makes room for so many rows, and for so many times what is in those of `other`, or its own.
  void reserve_like(const ColumnBuilder& other, int64_t rows, double times);
  int64_t null_count(int64_t rows) const;
  bool is_valid(const Row& row) const { return validity_.data()[row.byte] & row.bit; }

 private:
  bool has_offsets() const { return kind_ == Kind::String || kind_ >= Kind::List; }
  // Nearly always few rows are passed over, or none: a branch on whether there are any is saved.
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

// The columns of one batch, its rows, and the bytes of JSON that they came from.
struct Batch {
  explicit Batch(const std::vector<Field>& schema);
  void rollback();
  void finish();
  // Gives back the room that a finished batch does not need.
  void trim();
  // Makes room for so many times what `other` holds, or itself.
  void reserve_like(const Batch& other, double times);

  std::vector<ColumnBuilder> columns;
  int64_t rows = 0;
  int64_t bytes = 0;
};

}  // namespace streamlic
