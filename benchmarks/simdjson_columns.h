// The columns of LICENSE_SCHEMA as plain buffers: values, offsets, and whether each value exists.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

struct Texts {  // As in Arrow: offsets into bytes, and whether each value exists.
  std::vector<int64_t> offsets{0};
  std::vector<char> bytes;
  std::vector<uint8_t> valid;

  void add(std::string_view text, bool is_valid) {
    bytes.insert(bytes.end(), text.begin(), text.end());
    offsets.push_back(static_cast<int64_t>(bytes.size()));
    valid.push_back(is_valid);
  }
  void fill(size_t rows) {
    if (valid.size() < rows) add({}, false);
  }
  void clear() {
    offsets.resize(1);
    bytes.clear();
    valid.clear();
  }
};

template <typename T>
struct Values {
  std::vector<T> values;
  std::vector<uint8_t> valid;

  void add(T value, bool is_valid) {
    values.push_back(value);
    valid.push_back(is_valid);
  }
  void fill(size_t rows) {
    if (valid.size() < rows) add(T{}, false);
  }
  void clear() {
    values.clear();
    valid.clear();
  }
};

struct Named {  // A list of structs: id, name and, for products, status.
  std::vector<int64_t> offsets{0};
  std::vector<uint8_t> valid;
  Texts id, name, status;

  void end(bool is_valid) {
    offsets.push_back(static_cast<int64_t>(id.valid.size()));
    valid.push_back(is_valid);
  }
  void fill(size_t rows) {
    if (valid.size() < rows) end(false);
  }
  void clear() {
    offsets.resize(1);
    valid.clear();
    id.clear(), name.clear(), status.clear();
  }
};

struct Columns {
  size_t rows = 0;
  Texts id, name, description, currency, status, remote_data;
  Values<int64_t> available, assigned, created, updated;
  Values<double> unit_amount;
  Values<uint8_t> is_paid;
  Named products, roles;

  void end_row() {
    ++rows;
    id.fill(rows), name.fill(rows), description.fill(rows), currency.fill(rows);
    status.fill(rows), remote_data.fill(rows), available.fill(rows), assigned.fill(rows);
    created.fill(rows), updated.fill(rows), unit_amount.fill(rows), is_paid.fill(rows);
    products.fill(rows), roles.fill(rows);
  }
  size_t count() const {  // The number of values: a check of the extraction.
    size_t values = 0;
    for (const auto *valid :
         {&id.valid, &name.valid, &description.valid, &currency.valid, &status.valid,
          &remote_data.valid, &available.valid, &assigned.valid, &created.valid, &updated.valid,
          &unit_amount.valid, &is_paid.valid, &products.valid, &roles.valid}) {
      for (const uint8_t one : *valid) values += one;
    }
    return values;
  }
  void clear() {  // Keeps the memory: the next body finds it warm.
    rows = 0;
    id.clear(), name.clear(), description.clear(), currency.clear(), status.clear();
    remote_data.clear(), available.clear(), assigned.clear(), created.clear(), updated.clear();
    unit_amount.clear(), is_paid.clear(), products.clear(), roles.clear();
  }
};
