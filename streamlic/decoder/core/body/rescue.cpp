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

}  // namespace

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
  uint8_t* const out = column.add_text(row, record.size + 5);
  std::memcpy(out, "{\"\":", 4);
  std::memcpy(out + 4, record.data, record.size);
  out[4 + record.size] = '}';
}

}  // namespace streamlic
