// The keys of one kind of object: which column a key means, predicted before it is looked up.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "core/arrow/columns.h"

namespace streamlic {

// Bytes to compare what is read with, at once.
struct Pattern {
  static constexpr uint64_t kNever = uint64_t{1} << 32;  // a byte that never is the same

  uint8_t text[32] = {};
  uint64_t mask = kNever;  // a bit for each byte that counts
  uint32_t size = 0;       // how many do, from the first on

  // Takes the first `length` bytes, of 32 that are there.
  void set(const uint8_t* bytes, size_t length) {
    std::memcpy(text, bytes, sizeof text);
    mask = (uint64_t{1} << length) - 1;
    size = static_cast<uint32_t>(length);
  }
};

// A key of the schema. Too long to be compared at once, or one to be escaped, it has no name here.
struct alignas(128) Key {
  Pattern
      pattern;  // the bytes from the comma or brace before it to its value, as they were last time
  Key* next = nullptr;  // the one that is likely to follow
  uint64_t bit = 0;     // of its column, among those of an object
  Pattern name;         // and the quote after it
  uint32_t confidence =
      0;  // saturating counter: mispredictions tolerated before `next` is retrained
  uint32_t column = 0;
  Kind kind = Kind::String;  // of its column

  // The predicted key followed, or another one did.
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
      is_meant_.push_back(fields[i].kind != Kind::Rescued);  // No field of a record is meant by it.
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

  // Keys know each other by address: those of a copy are its own.
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

  // What is before the first key of an object.
  Key& before_first() { return keys_[names_.size() + 1]; }
  const std::string& name(const Key* key) const { return names_[key->column]; }

  // Whether the first bytes of a key tell which one it may be; else its name has to be there whole.
  bool is_by_prefix() const { return is_by_prefix_; }
  // The only one, if any, that may begin with these bytes: a quote, and kPrefixBytes - 1 more.
  Key* candidate(const uint8_t* quote) { return &keys_[table_[slot(prefix_word(quote))]]; }
  // The only one, if any, that may have this name.
  Key* candidate(const uint8_t* name, size_t size) {
    return is_by_prefix_ ? candidate(name - 1) : &keys_[table_[slot(name_word(name, size))]];
  }
  // Whether there is none of a name but its candidate.
  bool is_perfect() const { return is_perfect_; }

  // The one of this name, null if there is none; slow, and always right.
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

  // What keys are distinguished by.
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

  // A key that is fit to be compared at once gets its name.
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

  // Gives every key that has a name a slot to itself: by its first bytes if all of them are long enough
  // and have others, else by its name. Some are left to `find` where that cannot be, either.
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

  // Looks for a factor by which no two of them share a slot. Returns whether there is one.
  bool place(const std::vector<Placed>& keys) {
    unsigned bits = 2;
    while ((size_t{1} << bits) < keys.size() * 2) ++bits;
    for (const unsigned most = bits + 3; bits <= most; ++bits) {
      shift_ = 32 - bits;
      for (int attempt = 0; attempt < 256; ++attempt, factor_ += 0x3C6EF372) {
        if (place_by_factor(keys) == keys.size()) return true;
      }
    }
    // As many as possible, then.
    table_.assign(table_.size(), static_cast<uint32_t>(none()));
    for (const Placed& key : keys) table_[slot(key.word)] = key.column;
    return false;
  }

  // Returns how many have a slot to themselves before the first that has not.
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
