// The record reader for one set of instructions. Included once for each, inside a namespace of its
// own that defines `kWidth`, `first_stop`, `copy_block` and `matches`; all headers are included before.

#define STREAMLIC_INLINE inline __attribute__((always_inline))
#define STREAMLIC_APART __attribute__((noinline))

#include "core/reader/generic/string_index-inl.h"
#include "core/reader/generic/cursor-inl.h"
#include "core/reader/generic/skipper-inl.h"
#include "core/reader/generic/values-inl.h"

class Reader final : public Scalars {
 public:
  explicit Reader(const Schema& schema) : Scalars(schema) {}

  const uint8_t* read(const uint8_t* text, const uint8_t* end, std::vector<Column>& columns,
                      int64_t row, int depth, const Room& room) override {
    end_ = end;
    if (text < strip_) forget();
    stop_ = Stop::None;
    notes_.clear();
    misfit_ = false;
    plain_rows_ = 0;
    begin_ = text;
    make_room(columns, row);
    if (record_column_ != kNone) {
      has_escapes_ = false;
      const uint8_t* const behind = skip_value(text, depth);
      if (behind) put_json(columns[record_column_], Row(row), text, size_of(text, behind), has_escapes_);
      return behind;
    }
    if (text == end) return at_end();
    if (*text != '{') {
      const uint8_t* const behind = skip_value(text, depth);
      if (behind) note(nullptr, text, behind);
      return behind;
    }
    if (depth <= 0) return refused();
    while (true) {
      const uint8_t* const behind =
          object(begin_, plan_, columns, Row(row + plain_rows_), depth, nullptr);
      if (unlikely(!behind || !goes_on(behind, room))) return behind;
      notes_.is_sure = true;
      notes_.has_escapes = false;
      begin_ = behind + 1;
      ++plain_rows_;
      make_room(columns, row + plain_rows_);
    }
  }

 private:
  // Whether the record that ends here is a plain row, and the one behind it is to be read, too.
  STREAMLIC_INLINE bool goes_on(const uint8_t* behind, const Room& room) const {
    return notes_.notes.empty() && plain_rows_ < room.rows && behind < room.before &&
           behind - begin_ <= room.record_bytes && end_ - behind > 1 && behind[0] == ',' &&
           behind[1] == '{';
  }

  // All columns grow at once.
  STREAMLIC_INLINE static void make_room(std::vector<Column>& columns, int64_t row) {
    if (likely(row < columns.front().capacity())) return;
    for (Column& column : columns) column.make_room(row + 1);
  }

  // A step on the way to where reading is; the steps before it stand on the stack, too.
  struct Link {
    const Link* up;
    Place place;
  };

  void note(const Link* way, const uint8_t* value, const uint8_t* behind) {
    if (unlikely(notes_.notes.size() > Notes::kFew)) return;
    const size_t before = notes_.places.size();
    for (const Link* link = way; link; link = link->up) notes_.places.push_back(link->place);
    std::reverse(notes_.places.begin() + static_cast<std::ptrdiff_t>(before), notes_.places.end());
    notes_.notes.push_back({notes_.places.size() - before, value, size_of(value, behind)});
  }

  const uint8_t* object(const uint8_t* at, Plan& plan, std::vector<Column>& columns, const Row& row,
                        int depth, const Link* way) {
    Column* const first_column = columns.data();
    Key* previous = &plan.keys.before_first();
    uint64_t seen = 0;
    while (true) {
      const uint8_t* const begin = ++at;  // behind the brace, or a comma
      Key* key = previous->next;
      if (likely(is_quick(begin) && matches(begin, key->seam))) {
        previous->confirm();
        at = begin + key->seam.size;
      } else if (likely(is_quick(begin) && matches(begin, (key = candidate(begin, plan.keys))->seam))) {
        previous->follow(key);
        at = begin + key->seam.size;
      } else {
        at = next(begin);
        if (unlikely(at == end_)) return at_end();
        if (*at == '}' && begin[-1] == '{') return at + 1;
        if (*at != '"') return refused();
        const uint8_t* const name = at + 1;
        at = any_key(begin, name, plan.keys, &key);
        if (unlikely(!at)) return nullptr;
        if (unlikely(at == end_)) return at_end();
        if (!key) {
          at = unknown(name, at, depth - 1, way);
          goto behind;
        }
        previous->follow(key);
      }
      {
        const uint8_t* const value_begin = at;
        Column& column = first_column[key->column];
        if (unlikely(seen & key->bit)) repeat(column, row);
        seen |= key->bit;
        previous = key;
        at = value(at, column, plan, key, row, depth, way);
        if (unlikely(misfit_)) note_column(plan.keys.name(key), way, next(value_begin), at);
      }
    behind:
      if (unlikely(!at)) return nullptr;
      if (likely(at < end_ && *at == ',')) continue;
      at = next(at);
      if (unlikely(at == end_)) return at_end();
      if (*at == ',') continue;
      return likely(*at == '}') ? at + 1 : refused();
    }
  }

  // Reads over the value of a key that no column has, and notes it.
  STREAMLIC_APART const uint8_t* unknown(const uint8_t* name, const uint8_t* begin, int depth,
                                         const Link* way) {
    const uint8_t* const at = skip_value(begin, depth);
    // A key with escapes ends somewhere else: then the notes are not sure anyway.
    const Link link{way, {name, size_of(name, string_stop(name)), 0}};
    if (at) note(&link, begin, at);
    return at;
  }

  // The key that may begin here, of those whose seam is known.
  STREAMLIC_INLINE Key* candidate(const uint8_t* begin, Keys& keys) {
    if (likely(keys.is_by_prefix())) return keys.candidate(begin);
    const uint8_t* const name = begin + 1;
    const uint64_t stops = near_stops(name);
    return keys.candidate(name, stops ? static_cast<size_t>(__builtin_ctzll(stops)) : 0);
  }

  // The key repeats: the last one counts.
  STREAMLIC_APART void repeat(Column& column, const Row& row) {
    notes_.is_sure = false;
    column.truncate(row.index);
  }

  static Link link_to(const Link* way, const std::string& name) {
    return {way, {reinterpret_cast<const uint8_t*>(name.data()), name.size(), 0}};
  }

  STREAMLIC_APART void note_column(const std::string& name, const Link* way, const uint8_t* value,
                                   const uint8_t* behind) {
    misfit_ = false;
    const Link link = link_to(way, name);
    if (behind) note(&link, value, behind);
  }

  // Reads any key, from behind its quote to its value, and remembers the seam that began at `begin`.
  // Gives null for one that no column has.
  STREAMLIC_APART const uint8_t* any_key(const uint8_t* begin, const uint8_t* name, Keys& keys,
                                         Key** key) {
    const uint8_t* const stop = string_stop(name);
    if (stop == end_) return at_end();
    const uint8_t* at = stop + 1;
    const bool is_plain = *stop == '"';
    if (is_plain) {
      *key = plain_key(name, size_of(name, stop), keys);
    } else {
      at = string_slow(stop);
      if (unlikely(!at)) return nullptr;
      notes_.is_sure = false;
      scratch_ = key_of(name - 1, size_of(name, at) + 1);
      *key = keys.find(reinterpret_cast<const uint8_t*>(scratch_.data()), scratch_.size());
    }
    at = next(at);
    if (unlikely(at == end_)) return at_end();
    if (*at != ':') return refused();
    at = next(at + 1);
    if (is_plain && *key) remember(begin, at, &(*key)->seam);
    return at;
  }

  Key* plain_key(const uint8_t* name, size_t size, Keys& keys) const {
    if (size_of(name, end_) >= sizeof Pattern::text) {
      Key* const key = keys.candidate(name, size);
      if (matches(name, key->name)) return key;
      if (keys.is_perfect()) return nullptr;
    }
    return keys.find(name, size);
  }

  void remember(const uint8_t* begin, const uint8_t* value, Pattern* seam) const {
    const size_t size = size_of(begin, value);
    if (size > sizeof seam->text || size_of(begin, end_) < sizeof seam->text) return;
    if (size != seam->size || !matches(begin, *seam)) seam->set(begin, size);
  }

  // The value at `at` as the column wants it, most often; `depth` brackets are open at most in all.
  STREAMLIC_INLINE const uint8_t* value(const uint8_t* at, Column& column, Plan& plan, const Key* key,
                                        const Row& row, int depth, const Link* way) {
    const uint8_t* behind = nullptr;
    switch (key->kind) {
      case Kind::String:
        if (likely(*at == '"')) return string_value(at, column, row);
        break;
      case Kind::Int64:
        if (likely(begins_number(*at))) return int64_value(at, column, row);
        break;
      case Kind::Bool:
        behind = bool_value(at, column, row);
        if (likely(behind)) return behind;
        break;
      case Kind::Double:
        if (likely(begins_number(*at))) return double_value(at, column, row);
        break;
      case Kind::Timestamp:
        if (likely(*at == '"')) return timestamp_value(at, column, row);
        break;
      case Kind::Json:
        if (likely(*at > ' ')) return json_value(at, column, row, depth - 1);
        break;
      case Kind::Struct:
        if (likely(*at == '{')) return struct_value(at, column, plan, key, row, depth - 1, way);
        break;
      case Kind::List:
        if (likely(*at == '[')) return list_value(at, column, plan, key, row, depth - 1, way);
        break;
      default:
        __builtin_unreachable();  // No key means such a column.
    }
    return unusual_value(at, column, plan, key, row, depth, way);
  }

  // One behind more white space than there was last time, of another type, or cut.
  STREAMLIC_APART const uint8_t* unusual_value(const uint8_t* at, Column& column, Plan& plan,
                                               const Key* key, const Row& row, int depth,
                                               const Link* way) {
    if (*at <= ' ') {
      at = after_space(at);
      if (unlikely(at == end_)) return at_end();
      return *at > ' ' ? value(at, column, plan, key, row, depth, way) : refused();
    }
    if (column.kind() == Kind::String && begins_number(*at)) return digits_value(at, column, row);
    if (column.kind() == Kind::Bool && (*at == 't' || *at == 'f')) {
      const bool is_true = *at == 't';
      at = is_true ? true_(at) : false_(at);
      if (at) column.put_bool(row, is_true);
      return at;
    }
    return other_value(at, depth - 1);
  }

  STREAMLIC_APART const uint8_t* struct_value(const uint8_t* at, Column& column, Plan& plan,
                                              const Key* key, const Row& row, int depth,
                                              const Link* way) {
    const Link link = link_to(way, plan.keys.name(key));
    return members(at, column, plan.children[key->column], row, depth, link);
  }

  const uint8_t* members(const uint8_t* at, Column& column, Plan& plan, const Row& row, int depth,
                         const Link& way) {
    if (unlikely(depth == 0)) return refused();
    column.open(row);
    return object(at, plan, column.children(), row, depth, &way);
  }

  STREAMLIC_APART const uint8_t* list_value(const uint8_t* at, Column& column, Plan& plan,
                                            const Key* key, const Row& row, int depth,
                                            const Link* way) {
    if (unlikely(depth == 0)) return refused();
    const Link list = link_to(way, plan.keys.name(key));
    Plan& inner = plan.children[key->column];
    column.open_offsets(row);
    at = next(at + 1);
    if (unlikely(at == end_)) return at_end();
    if (*at == ']') {
      column.end_list(row);
      return at + 1;
    }
    Column& structs = column.children()[0];
    Link link{&list, {nullptr, 0, 0}};
    while (true) {
      const uint8_t* const begin = at;
      const Row element(column.next_element());
      at = *at == '{' ? members(at, structs, inner, element, depth - 1, link)
                      : other_value(at, depth - 1);
      if (unlikely(!at)) return nullptr;
      if (unlikely(misfit_)) {
        misfit_ = false;
        note(&link, begin, at);
      }
      ++link.place.index;
      at = next(at);
      if (unlikely(at == end_)) return at_end();
      if (*at == ']') break;
      if (*at != ',') return refused();
      at = next(at + 1);
      if (unlikely(at == end_)) return at_end();
    }
    column.end_list(row);
    return at + 1;
  }
};

#undef STREAMLIC_INLINE
#undef STREAMLIC_APART
