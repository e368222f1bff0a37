// Maps the keys of an object to columns: predicts the next key, and looks it up if that fails.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "core/arrow/columns.h"
#include "core/reader/pattern.h"
#include "core/reader/unknown_keys.h"

namespace streamlic {

// A key of the schema. `name` is empty if the key is too long to compare at once, or needs escapes.
struct alignas(128) Key {
  Pattern
      pattern;  // the bytes from the comma or brace before it to its value, as they were last time
  Key* next = nullptr;  // the key that is likely to follow
  uint64_t bit = 0;     // of its column, among those of an object
  Pattern name;         // the name and its closing quote
  uint32_t confidence =
      0;  // saturating counter: mispredictions tolerated before `next` is retrained
  uint32_t column = 0;
  Kind kind = Kind::String;  // of its column
  uint8_t next_unknown = 0;  // the unknown key that followed last time

  // Call it when the predicted key followed, or another one.
  void hit() { confidence = 7; }
  void miss(Key* key) {
    next = confidence ? next : key;
    confidence >>= 1;
  }
};

class Keys {
 public:
  static constexpr size_t kPrefixBytes = 4;

  explicit Keys(const std::vector<Field>& fields) : keys_(fields.size() + 2) {
    for (size_t i = 0; i < fields.size(); ++i) {
      names_.push_back(fields[i].name);
      is_meant_.push_back(fields[i].kind != Kind::Rescued);  // No key of a record means it.
      if (is_meant_.back()) prepare(i);
      keys_[i].bit = uint64_t{1} << (i & 63);
      keys_[i].column = static_cast<uint32_t>(i);
      keys_[i].kind = fields[i].kind;
    }
    place_all();
    for (size_t i = 0; i < keys_.size(); ++i) {
      keys_[i].next = &keys_[i + 1 < names_.size() ? i + 1 : none()];
    }
    before_first().next = &keys_[names_.empty() || !is_meant_[0] ? none() : 0];
  }

  // Keys point to each other: in a copy, to the copy's keys.
  Keys(const Keys& others)
      : keys_(others.keys_),
        names_(others.names_),
        is_meant_(others.is_meant_),
        is_by_prefix_(others.is_by_prefix_),
        is_perfect_(others.is_perfect_),
        factor_(others.factor_),
        shift_(others.shift_),
        table_(others.table_) {
    for (Key& key : keys_) key.next = &keys_[static_cast<size_t>(key.next - others.keys_.data())];
  }
  Keys(Keys&&) = default;
  Keys& operator=(const Keys&) = delete;

  // Stands for the beginning of an object: its `next` is the likely first key.
  Key& before_first() { return keys_[names_.size() + 1]; }
  const std::string& name(const Key* key) const { return names_[key->column]; }

  // Whether the first bytes of a key suffice to find its candidate; otherwise the whole name is needed.
  bool is_by_prefix() const { return is_by_prefix_; }
  // The only key, if any, that may begin with these bytes: a quote, and kPrefixBytes - 1 more.
  Key* candidate(const uint8_t* quote) { return &keys_[table_[slot(prefix_word(quote))]]; }
  // The only key with a slot, if any, that may have this name.
  Key* candidate(const uint8_t* name, size_t size) {
    return is_by_prefix_ ? candidate(name - 1) : &keys_[table_[slot(name_word(name, size))]];
  }
  // Whether every key has a slot: then no key but the candidate can have the name.
  bool is_perfect() const { return is_perfect_; }

  // The key of this name, or null. Slow, but complete.
  Key* find(const uint8_t* name, size_t size) {
    for (size_t i = 0; i < names_.size(); ++i) {
      const std::string& known = names_[i];
      const bool is_it = known.size() == size && std::memcmp(known.data(), name, size) == 0;
      if (is_it && is_meant_[i]) return &keys_[i];
    }
    return nullptr;
  }

 private:
  size_t none() const { return names_.size(); }

  size_t slot(uint32_t word) const { return word * factor_ >> shift_; }

  // The words that keys are hashed by.
  static uint32_t prefix_word(const uint8_t* quote) {
    uint32_t word;
    std::memcpy(&word, quote, kPrefixBytes);
    return word;
  }
  static uint32_t name_word(const uint8_t* name, size_t size) {
    if (!size) return 0;
    const uint32_t letters =
        name[0] | uint32_t{name[size - 1]} << 8 | uint32_t{name[size / 2]} << 16;
    return letters ^ static_cast<uint32_t>(size) << 24;
  }

  // Sets the name of a key that can be compared at once.
  void prepare(size_t column) {
    const std::string& name = names_[column];
    for (const char c : name) {
      if (static_cast<uint8_t>(c) < 0x20 || c == '"' || c == '\\') return;
    }
    uint8_t text[sizeof Pattern::text] = {};
    if (name.size() + 1 > sizeof text) return;
    std::memcpy(text, name.data(), name.size());
    text[name.size()] = '"';
    keys_[column].name.set(text, name.size() + 1);
  }

  struct Placed {
    uint32_t word;
    uint32_t column;
  };

  // Gives every key with a name a slot of its own: by its first bytes if all keys are long enough and
  // differ there, else by its name. If that fails too, some keys are left to `find`.
  void place_all() {
    std::vector<Placed> by_prefix, by_name;
    is_by_prefix_ = true;
    for (uint32_t i = 0; i < names_.size(); ++i) {
      if (keys_[i].name.mask == Pattern::kNever) continue;
      const std::string quoted = '"' + names_[i] + '"';
      const auto* const text = reinterpret_cast<const uint8_t*>(quoted.data());
      is_by_prefix_ = is_by_prefix_ && quoted.size() >= kPrefixBytes;
      by_prefix.push_back({is_by_prefix_ ? prefix_word(text) : 0, i});
      by_name.push_back({name_word(text + 1, names_[i].size()), i});
    }
    is_by_prefix_ = is_by_prefix_ && place(by_prefix);
    is_perfect_ = is_by_prefix_ || place(by_name);
    const auto meant = std::count(is_meant_.begin(), is_meant_.end(), true);
    is_perfect_ = is_perfect_ && static_cast<std::ptrdiff_t>(by_name.size()) == meant;
  }

  // Searches for a factor with which no two keys share a slot. Returns whether it found one.
  bool place(const std::vector<Placed>& keys) {
    unsigned bits = 2;
    while ((size_t{1} << bits) < keys.size() * 2) ++bits;
    for (const unsigned most = bits + 3; bits <= most; ++bits) {
      shift_ = 32 - bits;
      for (int attempt = 0; attempt < 256; ++attempt, factor_ += 0x3C6EF372) {
        if (place_by_factor(keys) == keys.size()) return true;
      }
    }
    // Place as many as possible.
    table_.assign(table_.size(), static_cast<uint32_t>(none()));
    for (const Placed& key : keys) table_[slot(key.word)] = key.column;
    return false;
  }

  // Returns how many keys were placed before the first collision.
  size_t place_by_factor(const std::vector<Placed>& keys) {
    table_.assign(size_t{1} << (32 - shift_), static_cast<uint32_t>(none()));
    for (size_t i = 0; i < keys.size(); ++i) {
      uint32_t& place = table_[slot(keys[i].word)];
      if (place != none()) return i;
      place = keys[i].column;
    }
    return keys.size();
  }

  std::vector<Key> keys_;
  std::vector<std::string> names_;
  std::vector<bool> is_meant_;
  bool is_by_prefix_ = false;
  bool is_perfect_ = false;
  uint32_t factor_ = 0x9E3779B1;
  unsigned shift_ = 30;
  std::vector<uint32_t> table_;
};

// The keys of an object, and the plans of the objects within it.
struct Plan {
  explicit Plan(const std::vector<Field>& fields) : keys(fields) {
    for (const Field& field : fields) {
      children.emplace_back(field.kind == Kind::List ? field.children[0].children : field.children);
    }
  }
  // The number of the unknown key that is likely to follow: after the unknown key `last`, or if that is 0,
  // after `key`.
  uint8_t& unknown_after(Key& key, uint8_t last) {
    return last ? unknown[last].next : key.next_unknown;
  }

  Keys keys;
  UnknownKeys unknown;
  std::vector<Plan> children;
};

// A schema and the plan to read it: made once, shared by all readers.
struct Schema {
  explicit Schema(std::vector<Field> given) : fields(std::move(given)), plan(fields) {}
  const std::vector<Field> fields;
  const Plan plan;
};

}  // namespace streamlic
