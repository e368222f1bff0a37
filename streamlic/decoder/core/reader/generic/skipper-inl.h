// Values of which nothing is wanted but that they are valid: a part of the record reader, see
// record_reader-inl.h.

class Skipping : public Tokens {
 protected:
  explicit Skipping(const Schema& schema) : Tokens(schema) { no_seam_.next = &no_seam_; }

  // What stood before the value of a member: an opening brace or a comma, the key and the colon; with
  // the closing quote of a string before the comma, and the opening one of a string behind the colon.
  // Where the same bytes stand again they are as valid as then, and need not be read one by one.
  struct alignas(64) Seam : Pattern {
    bool is_before_string = false;
    Seam* next = nullptr;  // what followed last time
  };
  static constexpr size_t kSeams = 128;

  // Whether what followed `*seam` last time stands at `at`; if so, `*seam` moves on to that.
  STREAMLIC_INLINE bool is_next_seam(const uint8_t* at, Seam** seam) {
    Seam* const next = (*seam)->next;
    if (unlikely(!is_quick(at) || !matches(at, *next))) return false;
    *seam = next;
    return true;
  }

  // Remembers the seam from `begin` to `value` as what follows `seam`, if it can be compared at once.
  // Returns the last one that is known.
  STREAMLIC_APART Seam* remember_seam(const uint8_t* begin, const uint8_t* value, Seam* seam) {
    const bool is_before_string = value < end_ && *value == '"';
    const size_t size = size_of(begin, value) + is_before_string;
    if (size > sizeof Seam::text || size_of(begin, end_) < sizeof Seam::text) return seam;
    size_t slot = (begin[3] * 3u + begin[size / 2] * 5u + size) % kSeams;
    for (int tries = 0; tries < 4 && seams_[slot].size && !matches(begin, seams_[slot]); ++tries) {
      slot = (slot + 1) % kSeams;
    }
    Seam& next = seams_[slot];
    if (!next.next) next.next = &no_seam_;
    next.set(begin, size);
    next.is_before_string = is_before_string;
    seam->next = &next;
    return &next;
  }

  // Any value, looked at only for being valid. `depth` brackets may be open within it.
  STREAMLIC_APART const uint8_t* skip_value(const uint8_t* at, int depth) {
    bool outer[512];  // whether each open bracket stands in an object: max_depth is no more
    const auto most = static_cast<unsigned>(std::max(depth, 0));
    unsigned level = 0;
    bool in_object = true;  // or in nothing
    Seam* seam = &no_seam_;
    const uint8_t* begin;
    bool is_plain;
  value:
    if (unlikely(at == end_)) return at_end();
    if (*at == '"') {
      at = string_rest(at + 1);
      if (!at) return nullptr;
    } else if (begins_number(*at)) {
      if (!(at = number(at))) return nullptr;
    } else if (*at == '{' || *at == '[') {
    open_bracket:
      if (unlikely(level == most)) return refused();
      outer[level++] = in_object;
      in_object = *at == '{';
    opened:
      begin = at;
      if (in_object && is_next_seam(at, &seam)) goto member;
      at = next(at + 1);
      if (unlikely(at == end_)) return at_end();
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
  behind:
    if (level == 0) return at;
    if (at < end_ && *at == ',') goto comma;
    at = next(at);
    if (unlikely(at == end_)) return at_end();
    if (*at == (in_object ? '}' : ']')) goto close;
    if (*at != ',') return refused();
  comma:
    begin = at[-1] == '"' ? at - 1 : at;
    if (in_object && is_next_seam(begin, &seam)) {
      at = begin;
      goto member;
    }
    at = next(at + 1);
    if (in_object) goto key;
    goto value;
  close:
    ++at;
    if (in_object && !outer[level - 1] && end_ - at > 1 && at[0] == ',' && at[1] == '{') {
      ++at;  // One object of an array follows the other: as many brackets are open as before.
      goto opened;
    }
    in_object = outer[--level];
    goto behind;
  member:  // Its first bytes are not the last ones of the text.
    at += seam->size;
    if (seam->is_before_string) {
      at = stop_in_strip(at);
      if (is_next_seam(at, &seam)) goto member;
      if (likely(at < quick_end_ && *at == '"')) {
        if (*++at == '}') goto close;
        goto behind;
      }
      at = string_rest(at);
      if (!at) return nullptr;
      goto behind;
    }
    if (is_digit(*at)) {
      const unsigned count = at[1] == ',' ? 1 : digits_of(eight_at(at));
      if (likely(count == 1 || *at != '0')) {
        if (at[count] == ',') {
          at += count;
          if (is_next_seam(at, &seam)) goto member;
          goto comma;
        }
        if (at[count] == '}') {
          at += count;
          goto close;
        }
      }
    }
    if (*at == '{' || *at == '[') goto open_bracket;
    at = next(at);  // There may be more white space than there was.
    goto value;
  key:
    if (unlikely(at == end_)) return at_end();
    if (unlikely(*at != '"')) return refused();
    at = string_stop(at + 1);
    is_plain = at < end_ && *at == '"';
    if (!(at = is_plain ? at + 1 : string_slow(at))) return nullptr;
    at = next(at);
    if (unlikely(at == end_)) return at_end();
    if (*at != ':') return refused();
    at = next(at + 1);
    if (is_plain) seam = remember_seam(begin, at, seam);
    goto value;
  }

 private:
  Seam seams_[kSeams];
  Seam no_seam_;  // what stands before the first one
};
