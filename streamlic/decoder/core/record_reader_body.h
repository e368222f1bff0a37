// The record reader for one set of instructions. Included once for each, inside a namespace of its
// own that defines `kWidth`, `first_stop`, `copy_block` and `matches`; all headers are included before.

#define STREAMLIC_INLINE inline __attribute__((always_inline))
#define STREAMLIC_APART __attribute__((noinline))

class Reader final : public RecordReader {
  static constexpr size_t kCopied = 32;

 public:
  using RecordReader::RecordReader;

  const uint8_t* read(const uint8_t* text, const uint8_t* end, std::vector<Column>& columns,
                      int64_t row, int depth) override {
    end_ = end;
    stop_ = Stop::None;
    notes_.clear();
    misfit_ = false;
    if (is_whole_record_) {
      has_escapes_ = false;
      const uint8_t* const behind = skip_value(text, depth);
      if (behind) put_json(columns[0], row, text, size_of(text, behind), has_escapes_);
      return behind;
    }
    if (text == end) return at_end();
    if (*text == '{') {
      return depth > 0 ? object(text, plan_, columns, row, depth, nullptr) : refused();
    }
    const uint8_t* const behind = skip_value(text, depth);
    if (behind) note(nullptr, text, behind);
    return behind;
  }

 private:
  // ---- what says why reading stopped

  const uint8_t* at_end() {
    stop_ = Stop::AtEnd;
    return nullptr;
  }
  const uint8_t* refused() {
    stop_ = Stop::Refused;
    return nullptr;
  }
  static size_t size_of(const uint8_t* from, const uint8_t* to) {
    return static_cast<size_t>(to - from);
  }

  // ---- the parts of JSON. Each takes where it begins and returns where it ends, or null.

  STREAMLIC_APART const uint8_t* after_space(const uint8_t* at) const {
    while (at < end_ && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) ++at;
    return at;
  }
  // The same, where a byte that is no white space is the likely one.
  const uint8_t* next(const uint8_t* at) const {
    return at < end_ && *at > ' ' ? at : after_space(at);
  }

  // The first quote, backslash or control character, or the end.
  const uint8_t* string_stop(const uint8_t* at) const {
    while (size_of(at, end_) >= kWidth) {
      const unsigned stop = first_stop(at);
      if (stop < kWidth) return at + stop;
      at += kWidth;
    }
    while (at < end_ && *at >= 0x20 && *at != '"' && *at != '\\') ++at;
    return at;
  }

  static bool is_digit(uint8_t byte) { return static_cast<uint8_t>(byte - '0') < 10; }
  static bool is_hex(uint8_t byte) {
    return is_digit(byte) || static_cast<uint8_t>((byte | 0x20) - 'a') < 6;
  }

  STREAMLIC_APART const uint8_t* escape(const uint8_t* at) {  // at the backslash
    has_escapes_ = notes_.has_escapes = true;
    if (end_ - at < 2) return at_end();
    switch (at[1]) {
      case '"':
      case '\\':
      case '/':
      case 'b':
      case 'f':
      case 'n':
      case 'r':
      case 't':
        return at + 2;
      case 'u':
        for (int i = 2; i < 6; ++i) {
          if (at + i == end_) return at_end();
          if (!is_hex(at[i])) return refused();
        }
        return at + 6;
      default:
        return refused();
    }
  }

  // From behind the opening quote, or anywhere within, to behind the closing one.
  STREAMLIC_INLINE const uint8_t* string_rest(const uint8_t* at) {
    at = string_stop(at);
    return at < end_ && *at == '"' ? at + 1 : string_slow(at);
  }

  STREAMLIC_APART const uint8_t* string_slow(const uint8_t* at) {
    while (true) {
      if (at == end_) return at_end();
      if (*at == '"') return at + 1;
      if (*at != '\\') return refused();
      at = escape(at);
      if (!at) return nullptr;
      at = string_stop(at);
    }
  }

  const uint8_t* literal(const uint8_t* at, const char* word, size_t size) {
    for (size_t i = 0; i < size; ++i) {
      if (at + i == end_) return at_end();
      if (at[i] != static_cast<uint8_t>(word[i])) return refused();
    }
    return at + size;
  }
  const uint8_t* true_(const uint8_t* at) { return literal(at, "true", 4); }
  const uint8_t* false_(const uint8_t* at) { return literal(at, "false", 5); }
  const uint8_t* null_(const uint8_t* at) { return literal(at, "null", 4); }

  // Eight bytes, the first one lowest, in which digits are 0 to 9, and all others more.
  STREAMLIC_INLINE static uint64_t eight_at(const uint8_t* at) {
    uint64_t word;
    std::memcpy(&word, at, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word ^ 0x3030303030303030u;
  }
  // How many of them are digits, up to the first that is none.
  STREAMLIC_INLINE static unsigned digits_of(uint64_t eight) {
    const uint64_t others = ((eight + 0x7676767676767676u) | eight) & 0x8080808080808080u;
    return others ? static_cast<unsigned>(__builtin_ctzll(others)) / 8 : 8;
  }

  // One or more. How many there are need not be foreseen, as in a loop over each.
  const uint8_t* digits(const uint8_t* at) {
    if (at == end_) return at_end();
    if (!is_digit(*at)) return refused();
    while (size_of(at, end_) >= 8) {
      const unsigned count = digits_of(eight_at(at));
      at += count;
      if (count < 8) return at;
    }
    while (at < end_ && is_digit(*at)) ++at;
    return at;
  }

  // A number has an end only where something follows it.
  const uint8_t* number(const uint8_t* at) {
    if (*at == '-') ++at;
    if (at == end_) return at_end();
    if (*at == '0') {
      ++at;
    } else if (!(at = digits(at))) {
      return nullptr;
    }
    if (at < end_ && *at == '.' && !(at = digits(at + 1))) return nullptr;
    if (at < end_ && (*at | 0x20) == 'e') {
      ++at;
      if (at < end_ && (*at == '+' || *at == '-')) ++at;
      if (!(at = digits(at))) return nullptr;
    }
    return at < end_ ? at : at_end();
  }

  static bool begins_number(uint8_t byte) { return is_digit(byte) || byte == '-'; }

  // What stood between a comma or an opening brace and the value of a member: its key and colon, and
  // the quote if the value is a string. Where the same bytes stand again they are as valid as then,
  // and need not be read one by one.
  struct Seam : Key {
    bool is_before_string = false;
  };
  static constexpr size_t kSeams = 128;

  // Whether what followed `*seam` last time stands at `at`; if so, `*seam` moves on to that.
  STREAMLIC_INLINE bool is_next_seam(const uint8_t* at, Seam** seam) {
    Seam* const next = seams_ + (*seam)->next;
    if (size_of(at, end_) < sizeof next->text || !matches(at, *next)) return false;
    *seam = next;
    return true;
  }

  // Remembers the seam from `begin` to `value` as what follows `*seam`, if it can be compared at once.
  STREAMLIC_APART void remember_seam(const uint8_t* begin, const uint8_t* value, Seam** seam) {
    if (size_of(begin, end_) < sizeof seams_->text) return;
    const bool is_before_string = value < end_ && *value == '"';
    const size_t size = size_of(begin, value) + is_before_string;
    if (size > sizeof seams_->text) return;
    size_t slot = (begin[1] * 3u + begin[size / 2] * 5u + size) % kSeams;
    for (int tries = 0; tries < 4 && seams_[slot].mask != Key::kNever && !matches(begin, seams_[slot]); ++tries) {
      slot = (slot + 1) % kSeams;
    }
    Seam& next = seams_[slot];
    std::memcpy(next.text, begin, sizeof next.text);
    next.mask = (uint64_t{1} << size) - 1;
    next.size = static_cast<uint32_t>(size);
    next.is_before_string = is_before_string;
    (*seam)->next = static_cast<int32_t>(slot);
    *seam = &next;
  }

  // Any value, looked at only for being valid. `depth` brackets may be open within it.
  STREAMLIC_APART const uint8_t* skip_value(const uint8_t* at, int depth) {
    uint64_t objects[8];  // a bit for each bracket that was open before: max_depth is at most 512
    int level = 0;
    bool in_object = false;
    Seam* seam = &no_seam_;
    const uint8_t* begin;
    bool is_plain;
  value:
    if (at == end_) return at_end();
    if (*at == '"') {
      ++at;
    string:
      if (!(at = string_rest(at))) return nullptr;
    } else if (begins_number(*at)) {
      if (!(at = number(at))) return nullptr;
    } else if (*at == '{' || *at == '[') {
      if (level == depth) return refused();
      uint64_t& word = objects[level >> 6];
      if ((level & 63) == 0) word = 0;
      word = (word & ~(uint64_t{1} << (level & 63))) | uint64_t{in_object} << (level & 63);
      ++level;
      in_object = *at == '{';
      begin = ++at;
      if (in_object && is_next_seam(at, &seam)) goto member;
      at = next(at);
      if (at == end_) return at_end();
      if (*at != (in_object ? '}' : ']')) {
        if (in_object) goto key;
        goto value;
      }
      goto close;
    } else {
      const bool is_false = *at == 'f';
      if (!is_false && *at != 't' && *at != 'n') return refused();
      at = is_false ? false_(at) : *at == 't' ? true_(at) : null_(at);
      if (!at) return nullptr;
    }
    while (level > 0) {
      at = next(at);
      if (at == end_) return at_end();
      if (*at == ',') {
        begin = ++at;
        if (in_object) {
          if (is_next_seam(at, &seam)) goto member;
          at = next(at);
          goto key;
        }
        at = next(at);
        goto value;
      }
      if (*at != (in_object ? '}' : ']')) return refused();
    close:
      ++at;
      --level;
      in_object = objects[level >> 6] >> (level & 63) & 1;
    }
    return at;
  member:
    at += seam->size;
    if (seam->is_before_string) goto string;
    at = next(at);  // There may be more white space than there was.
    goto value;
  key:
    if (at == end_) return at_end();
    if (*at != '"') return refused();
    at = string_stop(at + 1);
    is_plain = at < end_ && *at == '"';
    if (!(at = string_rest(at))) return nullptr;
    at = next(at);
    if (at == end_) return at_end();
    if (*at != ':') return refused();
    at = next(at + 1);
    if (is_plain) remember_seam(begin, at, &seam);
    goto value;
  }

  // ---- objects

  // A step on the way to where reading is; the steps before it stand on the stack, too.
  struct Link {
    const Link* up;
    Place place;
  };

  void note(const Link* way, const uint8_t* value, const uint8_t* behind) {
    const size_t before = notes_.places.size();
    for (const Link* link = way; link; link = link->up) notes_.places.push_back(link->place);
    std::reverse(notes_.places.begin() + static_cast<std::ptrdiff_t>(before), notes_.places.end());
    notes_.notes.push_back({notes_.places.size() - before, value, size_of(value, behind)});
  }

  const uint8_t* object(const uint8_t* at, Plan& plan, std::vector<Column>& columns, int64_t row,
                        int depth, const Link* way) {
    at = next(at + 1);
    if (at == end_) return at_end();
    if (*at == '}') return at + 1;
    Key* const keys = plan.keys.all();
    Column* const first_column = columns.data();
    Key* previous = &plan.keys.before_first();
    uint64_t seen = 0;
    while (true) {
      if (*at != '"') return refused();
      const uint8_t* const name = at + 1;
      int column = previous->next;
      const bool has_room = size_of(name, end_) >= sizeof keys->text;
      if (has_room && matches(name, keys[column])) {
        previous->confirm();
        at = name + keys[column].size;
      } else if (has_room && matches(name, keys[column = keys[column].next])) {
        previous->follow(column);
        at = name + keys[column].size;
      } else if (has_room && (column = candidate(name, plan.keys, keys)) != Keys::kUnknown) {
        previous->follow(column);
        at = name + keys[column].size;
      } else {
        int found;
        at = any_key(name, plan.keys, &found);
        if (!at) return nullptr;
        column = found;
      }
      at = next(at);
      if (at == end_) return at_end();
      const uint8_t* const begin = at;
      if (column == Keys::kUnknown) {
        at = skip_value(at, depth - 1);
        if (!at) return nullptr;
        // A key with escapes ends somewhere else: then the notes are not sure anyway.
        const Link link{way, {name, size_of(name, string_stop(name)), 0}};
        note(&link, begin, at);
      } else {
        const uint64_t bit = uint64_t{1} << (column & 63);
        if (seen & bit) notes_.is_sure = false;
        seen |= bit;
        previous = keys + column;
        at = value(at, first_column[column], plan, column, row, depth - 1, way);
        if (!at) return nullptr;
        if (misfit_) note_column(plan.keys.name(column), way, begin, at);
      }
      at = next(at);
      if (at == end_) return at_end();
      if (*at == '}') return at + 1;
      if (*at != ',') return refused();
      at = next(at + 1);
      if (at == end_) return at_end();
    }
  }

  static Link link_to(const Link* way, const std::string& name) {
    return {way, {reinterpret_cast<const uint8_t*>(name.data()), name.size(), 0}};
  }

  STREAMLIC_APART void note_column(const std::string& name, const Link* way, const uint8_t* value,
                                   const uint8_t* behind) {
    misfit_ = false;
    const Link link = link_to(way, name);
    note(&link, value, behind);
  }

  // The column that the key at `name` means, if it stands there as it usually does. There are as many
  // bytes as are compared.
  STREAMLIC_INLINE static int candidate(const uint8_t* name, const Keys& known, const Key* keys) {
    unsigned size = 0;
    unsigned stop;
    while ((stop = first_stop(name + size)) == kWidth && size + kWidth < sizeof keys->text) {
      size += kWidth;
    }
    const int column = known.candidate(name, size + stop);
    return matches(name, keys[column]) ? column : Keys::kUnknown;
  }

  // Reads any key, from behind its quote to behind its colon.
  STREAMLIC_APART const uint8_t* any_key(const uint8_t* at, const Keys& keys, int* column) {
    const uint8_t* const stop = string_stop(at);
    if (stop == end_) return at_end();
    const uint8_t* behind = stop + 1;
    if (*stop == '"') {
      *column = keys.find(at, size_of(at, stop));
    } else {
      behind = string_rest(stop);
      if (!behind) return nullptr;
      notes_.is_sure = false;
      const size_t size = size_of(at, behind) - 1;
      scratch_.resize(size);
      auto* const name = reinterpret_cast<uint8_t*>(scratch_.data());
      *column = keys.find(name, unescape(at, size, name));
    }
    at = next(behind);
    if (at == end_) return at_end();
    return *at == ':' ? at + 1 : refused();
  }

  // ---- values for columns

  STREAMLIC_INLINE const uint8_t* value(const uint8_t* at, Column& column, Plan& plan, int place,
                                        int64_t row, int depth, const Link* way) {
    if (column.length() > row) column.truncate(row);  // The key repeats: the last one counts.
    switch (column.kind()) {
      case Kind::String:
        return string_value(at, column, row, depth);
      case Kind::Int64:
        return int64_value(at, column, row, depth);
      case Kind::Double:
        return double_value(at, column, row, depth);
      case Kind::Bool:
        return bool_value(at, column, row, depth);
      case Kind::Timestamp:
        return timestamp_value(at, column, row, depth);
      case Kind::Struct:
      case Kind::List: {
        const Link link = link_to(way, plan.keys.name(place));
        Plan& inner = plan.children[static_cast<size_t>(place)];
        if (column.kind() == Kind::List) return list_value(at, column, inner, row, depth, link);
        return struct_value(at, column, inner, row, depth, link);
      }
      default:
        return json_value(at, column, row, depth);
    }
  }

  // A value of another type: null, or something to be rescued, which whoever knows its place notes.
  STREAMLIC_APART const uint8_t* other_value(const uint8_t* at, int depth) {
    if (*at == 'n') return null_(at);
    at = skip_value(at, depth);
    misfit_ = true;
    return at;
  }

  STREAMLIC_INLINE void put_text(Column& column, int64_t row, const uint8_t* text, size_t size) {
    uint8_t* out = column.begin_text(row, size);
    if (size_of(text, end_) >= size + kCopied) {
      // As much for every short text: how long it is need not be foreseen.
      for (size_t i = 0; i < kCopied; i += kWidth) copy_block(out + i, text + i);
      for (size_t i = kCopied; i < size; i += kWidth) copy_block(out + i, text + i);
    } else {
      for (size_t i = 0; i < size; ++i) out[i] = text[i];
    }
    column.end_text(row, size);
  }

  STREAMLIC_INLINE const uint8_t* string_value(const uint8_t* at, Column& column, int64_t row,
                                               int depth) {
    if (*at == '"') {
      const uint8_t* const begin = at + 1;
      at = string_stop(begin);
      if (at == end_) return at_end();
      if (*at != '"') return escaped_string(begin, at, column, row);
      put_text(column, row, begin, size_of(begin, at));
      return at + 1;
    }
    return begins_number(*at) ? digits_value(at, column, row) : other_value(at, depth);
  }

  STREAMLIC_APART const uint8_t* escaped_string(const uint8_t* begin, const uint8_t* at,
                                                Column& column, int64_t row) {
    at = string_rest(at);
    if (!at) return nullptr;
    const size_t size = size_of(begin, at) - 1;
    uint8_t* const out = column.begin_text(row, size);
    column.end_text(row, static_cast<size_t>(unescape_to(out, begin, begin + size) - out));
    return at;
  }

  // Unescapes block by block the text before a closing quote; behind `out` there is room for a block
  // more than there is text.
  uint8_t* unescape_to(uint8_t* out, const uint8_t* text, const uint8_t* end) const {
    while (size_of(text, end_) >= kWidth) {
      copy_block(out, text);
      const unsigned plain = first_stop(text);
      out += plain;
      text += plain;
      if (text == end) return out;
      if (plain < kWidth) unescape_one(&text, end, &out);
    }
    return out + unescape(text, size_of(text, end), out);
  }

  // A number for a string column: integers are taken as their digits.
  STREAMLIC_APART const uint8_t* digits_value(const uint8_t* at, Column& column, int64_t row) {
    const uint8_t* const begin = at;
    at = number(at);
    if (!at) return nullptr;
    const size_t size = size_of(begin, at);
    if (!is_integer(begin, size)) {
      misfit_ = true;
    } else if (size == 2 && begin[0] == '-' && begin[1] == '0') {
      column.put_text(row, "0", 1);
    } else {
      column.put_text(row, begin, size);
    }
    return at;
  }

  // The digits at `at`, at most eight, without a loop; eight bytes are there.
  struct Digits {
    uint64_t value;
    unsigned count;
  };
  STREAMLIC_INLINE static Digits digits_at(const uint8_t* at) {
    uint64_t word = eight_at(at);
    const unsigned count = digits_of(word);
    if (count == 0) return {0, 0};
    word <<= 64 - 8 * count;  // Zeros before them change nothing.
    word = word * 10 + (word >> 8);
    word = ((word & 0x000000FF000000FFu) * 0x000F424000000064u +
            ((word >> 16) & 0x000000FF000000FFu) * 0x0000271000000001u) >>
           32;
    return {word & 0xFFFFFFFFu, count};
  }
  static bool may_follow_number(uint8_t byte) { return byte == ',' || byte == '}'; }

  STREAMLIC_INLINE const uint8_t* int64_value(const uint8_t* at, Column& column, int64_t row,
                                              int depth) {
    if (!begins_number(*at)) return other_value(at, depth);
    if (end_ - at < 16) return any_int64(at, column, row);
    const bool is_negative = *at == '-';
    const uint8_t* const first = at + is_negative;
    const Digits digits = digits_at(first);
    const uint8_t* const behind = first + digits.count;
    const bool is_plain = may_follow_number(*behind) && (*first != '0' || digits.count == 1);
    if (!is_plain || !digits.count) return any_int64(at, column, row);
    const auto value = static_cast<int64_t>(digits.value);
    column.put_int64(row, is_negative ? -value : value);
    return behind;
  }

  STREAMLIC_APART const uint8_t* any_int64(const uint8_t* begin, Column& column, int64_t row) {
    const uint8_t* const at = number(begin);
    if (!at) return nullptr;
    int64_t exact;
    if (to_int64(begin, size_of(begin, at), &exact)) {
      column.put_int64(row, exact);
    } else {
      misfit_ = true;
    }
    return at;
  }

  // Few digits and a short fraction: one exact division rounds correctly (Clinger's fast path).
  STREAMLIC_INLINE const uint8_t* double_value(const uint8_t* at, Column& column, int64_t row,
                                               int depth) {
    static constexpr double kPowers[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7};
    if (!begins_number(*at)) return other_value(at, depth);
    if (end_ - at < 32) return any_double(at, column, row);
    const bool is_negative = *at == '-';
    const uint8_t* const first = at + is_negative;
    const Digits whole = digits_at(first);
    const uint8_t* behind = first + whole.count;
    Digits fraction{0, 0};
    if (*behind == '.') {
      fraction = digits_at(behind + 1);
      behind += 1 + fraction.count;
      if (fraction.count == 0 || fraction.count > 7) return any_double(at, column, row);
    }
    const auto power = kPowers[fraction.count];
    const uint64_t digits = whole.value * static_cast<uint64_t>(power) + fraction.value;
    const bool is_plain = may_follow_number(*behind) && (*first != '0' || whole.count == 1);
    // Zero has a sign, or has not: that is for the others to know.
    if (!is_plain || !whole.count || !digits || digits >> 53) return any_double(at, column, row);
    const double value = static_cast<double>(digits) / power;
    column.put_double(row, is_negative ? -value : value);
    return behind;
  }

  STREAMLIC_APART const uint8_t* any_double(const uint8_t* begin, Column& column, int64_t row) {
    const uint8_t* const at = number(begin);
    if (!at) return nullptr;
    double value;
    if (to_double(begin, size_of(begin, at), &value)) {
      column.put_double(row, value);
    } else {
      misfit_ = true;
    }
    return at;
  }

  STREAMLIC_INLINE const uint8_t* bool_value(const uint8_t* at, Column& column, int64_t row,
                                             int depth) {
    if (end_ - at >= 5) {
      const bool is_true = std::memcmp(at, "true", 4) == 0;
      const bool is_false = std::memcmp(at, "fals", 4) == 0 && at[4] == 'e';
      if (is_true | is_false) {
        column.put_bool(row, is_true);
        return at + 4 + is_false;
      }
    }
    if (*at != 't' && *at != 'f') return other_value(at, depth);
    const bool is_true = *at == 't';
    at = is_true ? true_(at) : false_(at);
    if (at) column.put_bool(row, is_true);
    return at;
  }

  STREAMLIC_APART const uint8_t* timestamp_value(const uint8_t* at, Column& column, int64_t row,
                                           int depth) {
    if (*at != '"') return other_value(at, depth);
    const uint8_t* text = at + 1;
    at = string_stop(text);
    if (at == end_) return at_end();
    size_t size = size_of(text, at);
    if (*at == '"') {
      ++at;
    } else {
      at = string_rest(at);
      if (!at) return nullptr;
      scratch_.resize(size_of(text, at) - 1);
      size = unescape(text, scratch_.size(), reinterpret_cast<uint8_t*>(scratch_.data()));
      text = reinterpret_cast<const uint8_t*>(scratch_.data());
    }
    int64_t microseconds;
    if (to_timestamp(text, size, &microseconds)) {
      column.put_int64(row, microseconds);
    } else {
      misfit_ = true;
    }
    return at;
  }

  STREAMLIC_APART const uint8_t* json_value(const uint8_t* at, Column& column, int64_t row,
                                           int depth) {
    const uint8_t* const begin = at;
    has_escapes_ = false;
    at = skip_value(at, depth);
    if (!at) return nullptr;
    const size_t size = size_of(begin, at);
    if (has_escapes_ || *begin == 'n') {
      put_json(column, row, begin, size, has_escapes_);
    } else {
      put_text(column, row, begin, size);
    }
    return at;
  }

  const uint8_t* struct_value(const uint8_t* at, Column& column, Plan& plan, int64_t row, int depth,
                              const Link& way) {
    if (*at != '{') return other_value(at, depth);
    if (depth == 0) return refused();
    column.open(row);
    return object(at, plan, column.children(), row, depth, &way);
  }

  const uint8_t* list_value(const uint8_t* at, Column& column, Plan& plan, int64_t row, int depth,
                            const Link& way) {
    if (*at != '[') return other_value(at, depth);
    if (depth == 0) return refused();
    column.begin_list(row);
    at = next(at + 1);
    if (at == end_) return at_end();
    if (*at == ']') {
      column.end_list(row);
      return at + 1;
    }
    Column& structs = column.children()[0];
    Link link{&way, {nullptr, 0, 0}};
    while (true) {
      const uint8_t* const begin = at;
      at = struct_value(at, structs, plan, column.next_element(), depth - 1, link);
      if (!at) return nullptr;
      if (misfit_) {
        misfit_ = false;
        note(&link, begin, at);
      }
      ++link.place.index;
      at = next(at);
      if (at == end_) return at_end();
      if (*at == ']') break;
      if (*at != ',') return refused();
      at = next(at + 1);
      if (at == end_) return at_end();
    }
    column.end_list(row);
    return at + 1;
  }

  const uint8_t* end_ = nullptr;
  Seam seams_[kSeams];
  Seam no_seam_;  // what stands before the first one
  bool has_escapes_ = false;
  bool misfit_ = false;  // The value just read did not fit.
};

#undef STREAMLIC_INLINE
#undef STREAMLIC_APART
