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

#include "buffer.h"

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

class Column {
 public:
  static constexpr int64_t kMostOffsets = INT32_MAX;
  // No buffer of text is ever larger, so that what fits one can be addressed.
  static constexpr size_t kMostText = size_t{1} << 31;
  static constexpr int64_t kStride = 8;

  explicit Column(const Field& field);

  Kind kind() const { return kind_; }
  int64_t length() const { return length_; }
  int64_t elements() const { return elements_; }
  std::vector<Column>& children() { return children_; }
  const std::vector<Column>& children() const { return children_; }
  const Buffer& validity() const { return validity_; }
  const Buffer& values() const { return values_; }
  const Buffer& data() const { return data_; }

  // Makes the value of `row` valid, and all between it and the last one null.
  void open(int64_t row) {
    if (row >= capacity_) grow_rows(row + 1);
    pass(row);
    validity_.data()[row >> 3] |= static_cast<uint8_t>(1u << (row & 7));
    length_ = row + 1;
  }

  void put_int64(int64_t row, int64_t value) {
    open(row);
    values_.as<int64_t>()[row] = value;
  }

  void put_double(int64_t row, double value) {
    open(row);
    values_.as<double>()[row] = value;
  }

  void put_bool(int64_t row, bool value) {
    open(row);
    const auto bit = static_cast<uint8_t>(1u << (row & 7));
    uint8_t& byte = values_.as<uint8_t>()[row >> 3];
    byte = static_cast<uint8_t>(value ? byte | bit : byte & ~bit);
  }

  // Returns room for `bytes` of text and 64 more, which may be overwritten; `end_text` follows.
  uint8_t* begin_text(int64_t row, size_t bytes) {
    open(row);
    const size_t used = static_cast<size_t>(values_.as<int32_t>()[row]);
    if (used + bytes + 64 > data_.capacity()) grow_text(used, bytes);
    return data_.data() + used;
  }
  void end_text(int64_t row, size_t bytes) {
    int32_t* offsets = values_.as<int32_t>();
    offsets[row + 1] = offsets[row] + static_cast<int32_t>(bytes);
  }
  void put_text(int64_t row, const void* text, size_t bytes) {
    std::memcpy(begin_text(row, bytes), text, bytes);
    end_text(row, bytes);
  }

  // A list is opened, gets its elements one by one, and is closed.
  void begin_list(int64_t row) {
    open(row);
    elements_ = values_.as<int32_t>()[row];
  }
  int64_t next_element() {
    if (elements_ == kMostOffsets) throw CapacityExceeded();
    return elements_++;
  }
  void end_list(int64_t row) {
    values_.as<int32_t>()[row + 1] = static_cast<int32_t>(elements_);
  }

  // Forgets `row` and all after it.
  void truncate(int64_t row);
  // Makes it a whole column of `rows` rows.
  void finish(int64_t rows);
  // Makes room for as much as another one holds.
  void reserve_like(const Column& other);

  int64_t null_count(int64_t rows) const;

 private:
  bool has_offsets() const {
    return kind_ == Kind::String || kind_ >= Kind::List;
  }
  void pass(int64_t row) {
    if (length_ < row && has_offsets()) pass_offsets(row);
  }
  // Eight at a time, also where fewer are to be passed: a loop of one turn is easy to predict.
  void pass_offsets(int64_t row) {
    int32_t* const offsets = values_.as<int32_t>();
    const int32_t last = offsets[length_];
    for (int64_t passed = length_; passed < row; passed += kStride) {
      for (int64_t i = 1; i <= kStride; ++i) offsets[passed + i] = last;
    }
  }
  void grow_rows(int64_t rows);
  void grow_text(size_t used, size_t bytes);

  Kind kind_;
  int64_t length_ = 0;
  int64_t capacity_ = 0;
  int64_t elements_ = 0;
  Buffer validity_;
  Buffer values_;  // or offsets
  Buffer data_;    // text
  std::vector<Column> children_;
};

// The columns of one batch, its rows, and the bytes of JSON that they came from.
struct Batch {
  explicit Batch(const std::vector<Field>& schema) {
    for (const Field& field : schema) columns.emplace_back(field);
  }
  void rollback();
  void finish();
  void reserve_like(const Batch& other);

  std::vector<Column> columns;
  int64_t rows = 0;
  int64_t bytes = 0;
};

}  // namespace streamlic
