// The keys of one kind of object: which column a key means, guessed before it is looked up.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "columns.h"

namespace streamlic {

// A key as it stands in ordinary JSON: name, quote and colon, to be compared at once.
struct Key {
  static constexpr uint64_t kNever = uint64_t{1} << 32;  // a byte that never is the same

  uint8_t text[32] = {};
  uint64_t mask = kNever;  // a bit for each byte that counts; kNever: too long for it, or escaped
  uint32_t size = 0;   // of the text
  int32_t next = 0;    // the column whose key is likely to follow this one
  uint32_t trust = 0;  // a bit for each time in a row that another may follow before `next` is changed

  // The likely one followed, or another one did.
  void confirm() { trust = 7; }
  void follow(int32_t column) {
    if (!trust) next = column;
    trust >>= 1;
  }
};

class Keys {
 public:
  static constexpr int kUnknown = -1;

  explicit Keys(const std::vector<Field>& fields) : keys_(fields.size() + 2) {
    for (size_t i = 0; i < fields.size(); ++i) {
      names_.push_back(fields[i].name);
      is_meant_.push_back(fields[i].kind != Kind::Rescued);  // No field of a record is meant by it.
      if (is_meant_.back()) prepare(i);
      keys_[i].next = static_cast<int32_t>(i + 1);
    }
    place_all();
    keys_[fields.size()].next = none();
    before_first().next = fields.empty() || !is_meant_[0] ? none() : 0;
  }

  // The keys by their columns; behind them one that matches nothing, and the one before the first.
  Key* all() { return keys_.data(); }
  int none() const { return static_cast<int>(names_.size()); }
  Key& before_first() { return keys_[names_.size() + 1]; }
  const std::string& name(int column) const { return names_[static_cast<size_t>(column)]; }

  // The only column, if any, whose key may have this name and stand in `all` with a mask.
  int candidate(const uint8_t* name, size_t size) const { return table_[slot(name, size)]; }

  // The column of this name; slow, and always right.
  int find(const uint8_t* name, size_t size) const {
    for (size_t i = 0; i < names_.size(); ++i) {
      const std::string& known = names_[i];
      const bool is_it = known.size() == size && std::memcmp(known.data(), name, size) == 0;
      if (is_it && is_meant_[i]) return static_cast<int>(i);
    }
    return kUnknown;
  }

 private:
  size_t slot(const uint8_t* name, size_t size) const {
    if (!size) return 0;
    const uint32_t letters = name[0] | uint32_t{name[size - 1]} << 8 | uint32_t{name[size / 2]} << 16;
    return (letters ^ static_cast<uint32_t>(size) << 24) * factor_ >> shift_;
  }

  // A key that is fit to be compared at once gets its mask.
  void prepare(size_t column) {
    Key& key = keys_[column];
    const std::string& name = names_[column];
    for (const char c : name) {
      if (static_cast<uint8_t>(c) < 0x20 || c == '"' || c == '\\') return;
    }
    if (name.size() + 2 > sizeof key.text) return;
    std::memcpy(key.text, name.data(), name.size());
    std::memcpy(key.text + name.size(), "\":", 2);
    key.size = static_cast<uint32_t>(name.size() + 2);
    key.mask = (uint64_t{1} << key.size) - 1;
  }

  // Looks for a factor by which every key has a slot to itself; else some are left to `find`.
  void place_all() {
    unsigned bits = 2;
    while ((size_t{1} << bits) < names_.size() * 2) ++bits;
    for (const unsigned most = bits + 3; bits <= most; ++bits) {
      shift_ = 32 - bits;
      for (int attempt = 0; attempt < 256; ++attempt, factor_ += 0x3C6EF372) {
        if (place_with_factor()) return;
      }
    }
  }

  bool place_with_factor() {
    bool is_perfect = true;
    table_.assign(size_t{1} << (32 - shift_), none());
    for (size_t i = 0; i < names_.size(); ++i) {
      if (keys_[i].mask == Key::kNever) continue;
      int32_t& place = table_[slot(keys_[i].text, names_[i].size())];
      is_perfect = is_perfect && place == none();
      if (place == none()) place = static_cast<int32_t>(i);
    }
    return is_perfect;
  }

  std::vector<Key> keys_;
  std::vector<std::string> names_;
  std::vector<bool> is_meant_;
  uint32_t factor_ = 0x9E3779B1;
  unsigned shift_ = 30;
  std::vector<int32_t> table_;
};

// What reading needs to know of a column and of all within it.
struct Plan {
  explicit Plan(const std::vector<Field>& fields) : keys(fields) {
    for (const Field& field : fields) {
      children.emplace_back(field.kind == Kind::List ? field.children[0].children : field.children);
    }
  }
  Keys keys;
  std::vector<Plan> children;
};

// A schema, and how its records are read: made once, shared by all who read by it.
struct Schema {
  explicit Schema(std::vector<Field> given) : fields(std::move(given)), plan(fields) {}
  const std::vector<Field> fields;
  const Plan plan;
};

}  // namespace streamlic
