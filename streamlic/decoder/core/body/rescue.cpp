#include "core/body/rescue.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string_view>

#include "core/json/numbers.h"
#include "core/json/text.h"
#include "core/json/timestamps.h"

namespace streamlic {

namespace {

struct Member {
  std::string key;
  size_t start;
  size_t end;
};

// The index after a string, or after any value. The text must be valid.
size_t valid_string_end(Text text, size_t index) {
  for (++index; text[index] != '"'; ++index) {
    if (text[index] == '\\') ++index;
  }
  return index + 1;
}

size_t valid_value_end(Text text, size_t index) {
  if (text[index] == '"') return valid_string_end(text, index);
  size_t open = 0;
  do {
    switch (text[index]) {
      case '"':
        index = valid_string_end(text, index);
        break;
      case '{':
      case '[':
        ++open;
        ++index;
        break;
      case '}':
      case ']':
        --open;
        ++index;
        break;
      case ',':
      case ':':
      case ' ':
      case '\n':
      case '\r':
      case '\t':
        ++index;
        break;
      default:  // a number or a literal
        while (index < text.size && (text[index] >= '0' || text[index] == '-' ||
                                     text[index] == '+' || text[index] == '.')) {
          if (text[index] == '}' || text[index] == ']' || text[index] == ':') break;
          ++index;
        }
    }
  } while (open);
  return index;
}

size_t after_separator(Text text, size_t index) {
  index = after_white_space(text, index);
  return text[index] == ',' ? after_white_space(text, index + 1) : index;
}

// Thrown if too many values do not fit: the whole record is rescued then.
struct TooMany {};

const Field* field_named(const std::vector<Field>& fields, const std::string& key) {
  for (const Field& field : fields) {
    if (field.kind != Kind::Rescued && field.name == key) return &field;
  }
  return nullptr;
}

// The members, in document order, without those whose key is repeated later.
std::vector<Member> last_ones(std::vector<Member> all) {
  // Sorted, not hashed: a hostile body could use keys that collide.
  std::vector<size_t> order(all.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t one, size_t other) {
    const int sign = all[one].key.compare(all[other].key);
    return sign ? sign < 0 : one < other;
  });
  std::vector<bool> is_repeated(all.size());
  bool are_repeated = false;
  for (size_t i = 1; i < order.size(); ++i) {
    if (all[order[i - 1]].key == all[order[i]].key) are_repeated = is_repeated[order[i - 1]] = true;
  }
  if (!are_repeated) return all;
  std::vector<Member> kept;
  for (size_t i = 0; i < all.size(); ++i) {
    if (!is_repeated[i]) kept.push_back(std::move(all[i]));
  }
  return kept;
}

// The members of an object in document order; of repeated keys only the last. Throws TooMany if more than
// `most` keys are not fields. It throws before it holds all members: there may be millions.
std::vector<Member> members_of(Text text, size_t index, const std::vector<Field>& fields,
                               int64_t most) {
  const auto many = static_cast<size_t>(most) + fields.size();
  std::vector<Member> all;
  index = after_white_space(text, index + 1);
  while (text[index] != '}') {
    const size_t key_end = valid_string_end(text, index);
    std::string key = text_of(text.data + index, key_end - index);
    const size_t start = after_white_space(text, after_white_space(text, key_end) + 1);
    const size_t end = valid_value_end(text, start);
    all.push_back({std::move(key), start, end});
    index = after_separator(text, end);
    if (all.size() > 2 * many) {
      all = last_ones(std::move(all));
      if (all.size() > many) throw TooMany{};
    }
  }
  return last_ones(std::move(all));
}

// The bytes that a text column can hold. Longer JSON is not built.
constexpr size_t kMostText = INT32_MAX;

class MisfitVisitor {
 public:
  MisfitVisitor(Text text, Rescues& found, int64_t most)
      : text_(text), found_(found), most_(most) {}

  void object(size_t start, const std::vector<Field>& fields) {
    for (const Member& member : members_of(text_, start, fields, most_)) {
      const size_t mark = pointer_.size();
      append_step(member.key);
      path_.emplace_back(member.key);
      if (const Field* field = field_named(fields, member.key)) {
        value(member.start, member.end, *field);
      } else {
        keep(member.start, member.end);
      }
      path_.pop_back();
      pointer_.resize(mark);
    }
  }

  void keep(size_t start, size_t end) {
    if (found_.count == most_) throw TooMany{};
    if (found_.count++ == 0) {
      found_.first_path = path_;
      found_.first_start = start;
      found_.first_end = end;
    } else {
      found_.json += ',';
    }
    found_.json += '"';
    found_.json += pointer_;
    found_.json += "\":";
    if (found_.json.size() + (end - start) > kMostText) throw CapacityExceeded();
    found_.json.append(reinterpret_cast<const char*>(text_.data + start), end - start);
  }

 private:
  void append_step(std::string_view key) {
    pointer_ += '/';
    std::string escaped;
    for (const char c : key) {
      if (c == '~') {
        escaped += "~0";
      } else if (c == '/') {
        escaped += "~1";
      } else {
        escaped += c;
      }
    }
    append_escaped(pointer_, escaped);
  }

  void value(size_t start, size_t end, const Field& field) {
    const uint8_t first = text_[start];
    if (first == 'n') return;
    if (field.kind == Kind::Json) return;
    if (field.kind == Kind::Struct && first == '{') return object(start, field.children);
    if (field.kind == Kind::List && first == '[') return list(start, field.children[0]);
    if (!fits(start, end, field.kind)) keep(start, end);
  }

  void list(size_t start, const Field& element) {
    size_t index = after_white_space(text_, start + 1);
    for (int64_t place = 0; text_[index] != ']'; ++place) {
      const size_t end = valid_value_end(text_, index);
      const size_t mark = pointer_.size();
      append_step(std::to_string(place));
      path_.emplace_back(place);
      value(index, end, element);
      path_.pop_back();
      pointer_.resize(mark);
      index = after_separator(text_, end);
    }
  }

  bool fits(size_t start, size_t end, Kind kind) const {
    const uint8_t* const token = text_.data + start;
    const size_t size = end - start;
    const bool is_number = *token == '-' || (*token >= '0' && *token <= '9');
    int64_t whole;
    double number;
    switch (kind) {
      case Kind::String:
        return *token == '"' || (is_number && is_integer(token, size));
      case Kind::Int64:
        return is_number && to_int64(token, size, &whole);
      case Kind::Double:
        return is_number && to_double(token, size, &number);
      case Kind::Bool:
        return *token == 't' || *token == 'f';
      case Kind::Timestamp: {
        if (*token != '"') return false;
        const std::string text = text_of(token, size);
        return text.empty() ||
               to_timestamp(reinterpret_cast<const uint8_t*>(text.data()), text.size(), &whole);
      }
      default:
        return false;
    }
  }

  Text text_;
  Rescues& found_;
  const int64_t most_;
  std::string pointer_;
  Path path_;
};

bool is_same(const RawStep& one, const RawStep& other) {
  return one.size == other.size && one.index == other.index && !one.key == !other.key &&
         (!one.size || std::memcmp(one.key, other.key, one.size) == 0);
}

// A hash of the steps: of the first and the last bytes of their keys.
uint64_t hash_of(const RawStep* step, size_t steps) {
  uint64_t hash = 0;
  for (const RawStep* const end = step + steps; step != end; ++step) {
    uint64_t first = static_cast<uint64_t>(step->index);
    uint64_t last = step->size;
    if (step->size >= 8) {
      std::memcpy(&first, step->key, 8);
      std::memcpy(&last, step->key + step->size - 8, 8);
    } else {
      for (size_t i = 0; i < step->size; ++i) first = first << 8 | step->key[i];
    }
    hash = (hash + first) * 0x9E3779B97F4A7C15u;
    hash = (hash ^ hash >> 32) + last;
    hash *= 0x9E3779B97F4A7C15u;
  }
  return hash ^ hash >> 32;
}

// Whether two misfits have the same path. A table of hashes shows nearly always that none have.
bool has_repeats(const Misfits& misfits) {
  const size_t count = misfits.list.size();
  if (count < 2) return false;
  struct Seen {
    uint64_t hash;
    const RawStep* steps;
  };
  Seen seen[Misfits::kFew + 1];
  constexpr uint8_t kFree = 0xFF;
  uint8_t table[512];  // misfits by their hash
  static_assert(Misfits::kFew < kFree && Misfits::kFew < sizeof table / 2, "the table has room");
  size_t slots = 4;
  while (slots < 2 * count) slots *= 2;
  std::memset(table, kFree, slots);
  const RawStep* step = misfits.steps.data();
  for (size_t i = 0; i < count; ++i) {
    const size_t steps = misfits.list[i].steps;
    seen[i] = {hash_of(step, steps), step};
    size_t slot = seen[i].hash & (slots - 1);
    for (; table[slot] != kFree; slot = (slot + 1) & (slots - 1)) {
      const Seen& other = seen[table[slot]];
      if (other.hash == seen[i].hash && misfits.list[table[slot]].steps == steps &&
          std::equal(step, step + steps, other.steps, is_same)) {
        return true;
      }
    }
    table[slot] = static_cast<uint8_t>(i);
    step += steps;
  }
  return false;
}

uint8_t* put_bytes(uint8_t* out, const void* bytes, size_t size) {
  std::memcpy(out, bytes, size);
  return out + size;
}

uint64_t eight_at(const uint8_t* at) {
  uint64_t word;
  std::memcpy(&word, at, 8);
  return word;
}

// The same for texts that are mostly short, without a call.
uint8_t* put_short(uint8_t* out, const uint8_t* text, size_t size) {
  if (size > 16) return put_bytes(out, text, size);
  if (size >= 8) {
    const uint64_t last = eight_at(text + size - 8);
    std::memcpy(out, text, 8);
    std::memcpy(out + size - 8, &last, 8);
  } else if (size >= 4) {
    std::memcpy(out, text, 4);
    std::memcpy(out + size - 4, text + size - 4, 4);
  } else {
    for (size_t i = 0; i < size; ++i) out[i] = text[i];
  }
  return out + size;
}

// Not 0 if one of the eight bytes is `byte`.
uint64_t found_in(uint64_t eight, uint8_t byte) {
  constexpr uint64_t kOnes = 0x0101010101010101u;
  const uint64_t others = eight ^ (kOnes * byte);
  return (others - kOnes) & ~others & (kOnes << 7);
}

uint64_t has_special(uint64_t eight) { return found_in(eight, '~') | found_in(eight, '/'); }

// Writes a step of a JSON Pointer. The key has no characters that JSON escapes.
uint8_t* put_step(uint8_t* out, const RawStep& step) {
  *out++ = '/';
  if (!step.key) {
    const std::string digits = std::to_string(step.index);
    return put_bytes(out, digits.data(), digits.size());
  }
  if (step.size >= 8) {
    const size_t last = step.size - 8;
    uint64_t special = has_special(eight_at(step.key + last));
    for (size_t i = 0; i < last; i += 8) special |= has_special(eight_at(step.key + i));
    if (!special) return put_short(out, step.key, step.size);
  }
  for (size_t i = 0; i < step.size; ++i) {
    const uint8_t byte = step.key[i];
    *out++ = byte == '/' ? uint8_t{'~'} : byte;
    if (byte == '~' || byte == '/') *out++ = byte == '~' ? '0' : '1';
  }
  return out;
}

}  // namespace

bool put_misfits(const Misfits& misfits, ColumnBuilder& column, const Row& row) {
  if (!misfits.is_sure || misfits.list.size() > Misfits::kFew || has_repeats(misfits)) return false;
  size_t room = 2;
  for (const Misfit& misfit : misfits.list) room += misfit.size + 4;
  for (const RawStep& step : misfits.steps) room += step.size * 2 + 21;
  if (!column.has_room_for(room)) return false;
  uint8_t* const begin = column.add_text(row, room);
  uint8_t* out = begin;
  const RawStep* step = misfits.steps.data();
  for (const Misfit& misfit : misfits.list) {
    *out = out == begin ? '{' : ',';
    *++out = '"';
    ++out;
    for (size_t i = 0; i < misfit.steps; ++i) out = put_step(out, *step++);
    out = put_bytes(out, "\":", 2);
    out = put_short(out, misfit.value, misfit.size);
  }
  *out++ = '}';
  if (misfits.has_unpaired) mend_surrogates(begin, static_cast<size_t>(out - begin));
  column.shorten_text(row, room - static_cast<size_t>(out - begin));
  return true;
}

Rescues rescue(Text record, const std::vector<Field>& schema, int64_t most) {
  if (record[0] == '{') {
    try {
      Rescues found;
      found.json = "{";
      MisfitVisitor(record, found, most).object(0, schema);
      found.json += '}';
      return found;
    } catch (const TooMany&) {
    }
  }
  Rescues whole;
  whole.count = 1;
  whole.is_whole = true;
  whole.first_end = record.size;
  return whole;
}

void put_whole(Text record, ColumnBuilder& column, const Row& row) {
  uint8_t* out = column.add_text(row, record.size + 5);
  out = put_bytes(out, "{\"\":", 4);
  out = put_bytes(out, record.data, record.size);
  *out = '}';
}

}  // namespace streamlic
