// The keys of one kind of object: which column a key means, guessed before it is looked up.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "columns.h"

namespace streamlic {

// A key as it stands in ordinary JSON: name, quote and colon, to be compared at once.
struct Guess {
  uint8_t text[32] = {};
  uint32_t size = 0;  // 0: too long to be guessed, or written with escapes
};

class Keys {
 public:
  static constexpr int kUnknown = -1;

  explicit Keys(const std::vector<Field>& fields) : next_(fields.size() + 1) {
    size_t slots = 4;
    while (slots < fields.size() * 4) slots *= 2;
    table_.assign(slots, kUnknown);
    for (size_t i = 0; i < fields.size(); ++i) {
      names_.push_back(fields[i].name);
      guesses_.push_back(guess_for(fields[i].name));
      next_[i] = static_cast<int>(i);
      if (fields[i].kind == Kind::Rescued) continue;  // No field of a record is meant by it.
      size_t slot = hash(bytes(names_[i]), names_[i].size());
      while (table_[slot] != kUnknown) slot = (slot + 1) & (slots - 1);
      table_[slot] = static_cast<int>(i);
    }
    next_[fields.size()] = 0;
  }

  // The column that probably comes after `previous` (kUnknown at the beginning).
  int expected_after(int previous) const { return next_[index(previous)]; }
  void learn(int previous, int found) { next_[index(previous)] = found; }
  const Guess& guess(int column) const { return guesses_[static_cast<size_t>(column)]; }
  const std::string& name(int column) const { return names_[static_cast<size_t>(column)]; }

  int find(const uint8_t* name, size_t size) const {
    for (size_t slot = hash(name, size);; slot = (slot + 1) & (table_.size() - 1)) {
      const int column = table_[slot];
      if (column == kUnknown) return kUnknown;
      const std::string& known = names_[static_cast<size_t>(column)];
      if (known.size() == size && std::memcmp(known.data(), name, size) == 0) return column;
    }
  }

 private:
  static const uint8_t* bytes(const std::string& text) {
    return reinterpret_cast<const uint8_t*>(text.data());
  }

  static Guess guess_for(const std::string& name) {
    Guess guess;
    for (const char c : name) {
      if (static_cast<uint8_t>(c) < 0x20 || c == '"' || c == '\\') return guess;
    }
    if (name.size() + 2 > sizeof guess.text) return guess;
    std::memcpy(guess.text, name.data(), name.size());
    guess.text[name.size()] = '"';
    guess.text[name.size() + 1] = ':';
    guess.size = static_cast<uint32_t>(name.size() + 2);
    return guess;
  }

  size_t hash(const uint8_t* name, size_t size) const {
    if (!size) return 0;
    const size_t mixed = size * 31 + name[0] * 7u + name[size / 2] * 131u + name[size - 1] * 17u;
    return mixed & (table_.size() - 1);
  }

  size_t index(int column) const {
    return column == kUnknown ? next_.size() - 1 : static_cast<size_t>(column);
  }

  std::vector<std::string> names_;
  std::vector<Guess> guesses_;
  std::vector<int> next_;
  std::vector<int> table_;
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

}  // namespace streamlic
