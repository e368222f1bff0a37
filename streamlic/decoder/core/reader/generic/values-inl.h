// Values of one column: a part of the record reader, see record_reader-inl.h. Each takes where it begins
// and returns where it ends, or null; what does not fit the column leaves `misfit_` behind.

class Scalars : public Skipping {
 protected:
  using Skipping::Skipping;

  // A value of another type: null, or something to be rescued, which whoever knows its place notes.
  STREAMLIC_APART const uint8_t* other_value(const uint8_t* at, int depth) {
    if (*at == 'n') return null_(at);
    at = skip_value(at, depth);
    misfit_ = true;
    return at;
  }

  // Puts a text behind which so many bytes may be read.
  STREAMLIC_INLINE static void put_text(Column& column, const Row& row, const uint8_t* text, size_t size,
                                        size_t readable) {
    uint8_t* const out = column.add_text(row, size);
    if (likely(readable >= kCopied)) {
      copy_text(out, text, size);
    } else {
      std::memcpy(out, text, size);
    }
  }

  // Copies up to kCopied bytes more than there are.
  STREAMLIC_INLINE static void copy_text(uint8_t* out, const uint8_t* text, size_t size) {
    // As much for every short text: how long it is need not be foreseen.
    for (size_t i = 0; i < kShort; i += kWidth) copy_block(out + i, text + i);
    for (size_t i = kShort; unlikely(i < size); i += kCopied) {
      for (size_t j = 0; j < kCopied; j += kWidth) copy_block(out + i + j, text + i + j);
    }
  }

  STREAMLIC_INLINE const uint8_t* string_value(const uint8_t* at, Column& column, const Row& row) {
    const uint8_t* const begin = at + 1;
    const uint8_t* const stop = string_stop(begin);
    if (unlikely(stop >= quick_end_ || *stop != '"')) return unusual_string(begin, stop, column, row);
    const size_t size = size_of(begin, stop);
    copy_text(column.add_text(row, size), begin, size);
    return stop + 1;
  }

  // One with escapes, or near the end of the strip.
  STREAMLIC_APART const uint8_t* unusual_string(const uint8_t* begin, const uint8_t* stop,
                                                Column& column, const Row& row) {
    if (stop == end_) return at_end();
    if (*stop == '"') {
      column.put_text(row, begin, size_of(begin, stop));
      return stop + 1;
    }
    const uint8_t* const behind = string_rest(stop);
    if (unlikely(!behind)) return nullptr;
    const size_t size = size_of(begin, behind) - 1;
    uint8_t* const out = column.add_text(row, size);
    column.shorten_text(row, size_of(unescape_to(out, begin, begin + size), out + size));
    return behind;
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
      while (text < end && *text == '\\') unescape_one(&text, end, &out);
    }
    return out + unescape(text, size_of(text, end), out);
  }

  // A number for a string column: integers are taken as their digits.
  STREAMLIC_APART const uint8_t* digits_value(const uint8_t* at, Column& column, const Row& row) {
    const uint8_t* const begin = at;
    at = number(at);
    if (unlikely(!at)) return nullptr;
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
    if (unlikely(count == 0)) return {0, 0};
    word <<= 64 - 8 * count;  // Zeros before them change nothing.
    word = word * 10 + (word >> 8);
    word = ((word & 0x000000FF000000FFu) * 0x000F424000000064u +
            ((word >> 16) & 0x000000FF000000FFu) * 0x0000271000000001u) >>
           32;
    return {word & 0xFFFFFFFFu, count};
  }

  static bool may_follow_number(uint8_t byte) { return byte == ',' || byte == '}'; }

  STREAMLIC_INLINE const uint8_t* int64_value(const uint8_t* at, Column& column, const Row& row) {
    if (unlikely(end_ - at < 16)) return any_int64(at, column, row);
    const bool is_negative = *at == '-';
    const uint8_t* const first = at + is_negative;
    const Digits digits = digits_at(first);
    const uint8_t* const behind = first + digits.count;
    const bool is_plain = may_follow_number(*behind) && (*first != '0' || digits.count == 1);
    if (unlikely(!is_plain || !digits.count)) return any_int64(at, column, row);
    const auto value = static_cast<int64_t>(digits.value);
    column.put_int64(row, is_negative ? -value : value);
    return behind;
  }

  STREAMLIC_APART const uint8_t* any_int64(const uint8_t* begin, Column& column, const Row& row) {
    const uint8_t* const at = number(begin);
    if (unlikely(!at)) return nullptr;
    int64_t exact;
    if (to_int64(begin, size_of(begin, at), &exact)) {
      column.put_int64(row, exact);
    } else {
      misfit_ = true;
    }
    return at;
  }

  // Few digits and a short fraction: one exact division rounds correctly (Clinger's fast path).
  STREAMLIC_APART const uint8_t* double_value(const uint8_t* at, Column& column, const Row& row) {
    static constexpr uint64_t kPowers[] = {1, 10, 100, 1000, 10'000, 100'000, 1'000'000, 10'000'000};
    if (unlikely(end_ - at < 32)) return any_double(at, column, row);
    const bool is_negative = *at == '-';
    const uint8_t* const first = at + is_negative;
    const Digits whole = digits_at(first);
    const uint8_t* behind = first + whole.count;
    Digits fraction{0, 0};
    if (likely(*behind == '.')) {
      fraction = digits_at(behind + 1);
      behind += 1 + fraction.count;
      if (unlikely(fraction.count == 0 || fraction.count > 7)) return any_double(at, column, row);
    }
    const uint64_t power = kPowers[fraction.count];
    const uint64_t digits = whole.value * power + fraction.value;
    const bool is_plain = may_follow_number(*behind) && (*first != '0' || whole.count == 1);
    // Zero has a sign, or has not: that is for the others to know.
    if (unlikely(!is_plain || !whole.count || !digits || digits >> 53)) {
      return any_double(at, column, row);
    }
    const auto value = static_cast<double>(static_cast<int64_t>(digits)) /
                       static_cast<double>(static_cast<int64_t>(power));
    column.put_double(row, is_negative ? -value : value);
    return behind;
  }

  STREAMLIC_APART const uint8_t* any_double(const uint8_t* begin, Column& column, const Row& row) {
    const uint8_t* const at = number(begin);
    if (unlikely(!at)) return nullptr;
    double value;
    if (to_double(begin, size_of(begin, at), &value)) {
      column.put_double(row, value);
    } else {
      misfit_ = true;
    }
    return at;
  }

  // Null if it is not written as it usually is. Which of the two it is need not be foreseen.
  STREAMLIC_INLINE const uint8_t* bool_value(const uint8_t* at, Column& column, const Row& row) {
    if (unlikely(end_ - at < 5)) return nullptr;
    uint32_t word, words[2];
    std::memcpy(&word, at, 4);
    std::memcpy(words, "falstrue", 8);
    const unsigned is_true = *at == 't';
    if (unlikely(word != words[is_true] || at[4 - is_true] != 'e')) return nullptr;
    column.put_bool(row, is_true);
    return at + 5 - is_true;
  }

  STREAMLIC_APART const uint8_t* timestamp_value(const uint8_t* at, Column& column, const Row& row) {
    const uint8_t* text = at + 1;
    at = string_stop(text);
    if (unlikely(at == end_)) return at_end();
    size_t size = size_of(text, at);
    if (likely(*at == '"')) {
      ++at;
    } else {
      at = string_rest(at);
      if (unlikely(!at)) return nullptr;
      scratch_.resize(size_of(text, at) - 1);
      size = unescape(text, scratch_.size(), reinterpret_cast<uint8_t*>(scratch_.data()));
      text = reinterpret_cast<const uint8_t*>(scratch_.data());
    }
    int64_t microseconds;
    if (likely(to_timestamp(text, size, &microseconds))) {
      column.put_int64(row, microseconds);
    } else if (size) {  // An empty text is null.
      misfit_ = true;
    }
    return at;
  }

  STREAMLIC_APART const uint8_t* json_value(const uint8_t* at, Column& column, const Row& row,
                                           int depth) {
    const uint8_t* const begin = at;
    has_escapes_ = false;
    at = skip_value(at, depth);
    if (unlikely(!at)) return nullptr;
    const size_t size = size_of(begin, at);
    if (unlikely(has_escapes_ || *begin == 'n')) {
      put_json(column, row, begin, size, has_escapes_);
    } else {
      put_text(column, row, begin, size, size_of(at, end_));
    }
    return at;
  }

  bool misfit_ = false;  // The value just read did not fit.

 private:
  static constexpr size_t kShort = 32;   // are copied of each text at least
  static constexpr size_t kCopied = 64;  // at a time of what is longer
};
