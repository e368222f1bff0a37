// Where the strings of a text may stop, found out for a strip of it at once: a part of the record reader,
// see record_reader-inl.h.
//
// Rules:
// 1. A strip begins where reading is, and is made only when reading has left the one before.
// 2. The end of the text is a stop. The end of a strip is none: whoever gets there makes the next.
// 3. Who is told that a place is quick may read kMarginBytes from there on without asking where the text
//    ends, and ask for the stops of that many without asking where the strip ends.
// 4. Who only guesses what stands at a place looks at the stops that are known: a strip that begins behind
//    where reading goes on would be wrong.

class Strips : public RecordReader {
 protected:
  using RecordReader::RecordReader;

  static constexpr size_t kStripBytes = STREAMLIC_STRIP_BYTES;
  static constexpr size_t kMarginBytes = 128;

  static size_t size_of(const uint8_t* from, const uint8_t* to) {
    return static_cast<size_t>(to - from);
  }

  // A number whose first byte in memory is the lowest, and the other way round.
  STREAMLIC_INLINE static uint64_t little(uint64_t word) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return __builtin_bswap64(word);
#else
    return word;
#endif
  }

  // Whether at least kMarginBytes from `at` on are of this strip, and of the text.
  STREAMLIC_INLINE bool is_quick(const uint8_t* at) {
    assert(strip_ <= at);
    return likely(at < quick_end_) || begins_strip(at);
  }

  STREAMLIC_APART bool begins_strip(const uint8_t* at) {
    if (strip_ + strip_bytes_ == end_) return false;
    make_strip(at);
    return at < quick_end_;
  }

  STREAMLIC_APART void make_strip(const uint8_t* at) {
    strip_ = at;
    strip_bytes_ = std::min(kStripBytes, size_of(at, end_));
    quick_end_ = at + (strip_bytes_ > kMarginBytes ? strip_bytes_ - kMarginBytes : 0);
    const size_t words = strip_bytes_ / 64;
    size_t word = 0;
    for (; words - word >= 4; word += 4) {
      for (size_t i = word; i < word + 4; ++i) stops_[i] = little(stops_of(at + i * 64));
    }
    for (; word < words; ++word) stops_[word] = little(stops_of(at + word * 64));
    if (strip_bytes_ % 64) {
      uint8_t last[64];
      std::memset(last, '"', sizeof last);
      std::memcpy(last, at + word * 64, strip_bytes_ % 64);
      stops_[word++] = little(stops_of(last));
    } else if (at + strip_bytes_ == end_) {
      stops_[word++] = little(1);
    }
    stops_[word] = 0;
  }

  // The first quote, backslash or control character, or the end.
  STREAMLIC_INLINE const uint8_t* string_stop(const uint8_t* at) {
    return likely(size_of(strip_, at) < strip_bytes_) ? stop_in_strip(at) : far_stop(at);
  }
  STREAMLIC_INLINE const uint8_t* stop_in_strip(const uint8_t* at) {
    const uint64_t stops = near_stops(at);
    return likely(stops) ? at + __builtin_ctzll(stops) : far_stop(at);
  }
  // A bit for each stop among the next bytes, 57 at least, of which the first is the lowest.
  STREAMLIC_INLINE uint64_t near_stops(const uint8_t* at) const {
    const size_t offset = size_of(strip_, at);
    assert(offset < strip_bytes_);
    uint64_t stops;
    std::memcpy(&stops, reinterpret_cast<const uint8_t*>(stops_) + offset / 8, sizeof stops);
    return little(stops) >> offset % 8;
  }

  STREAMLIC_APART const uint8_t* far_stop(const uint8_t* at) {
    while (true) {
      const size_t offset = size_of(strip_, at);
      if (offset >= strip_bytes_) {
        if (at == end_) return at;
        make_strip(at);
        continue;
      }
      const uint64_t stops = little(stops_[offset / 64]) >> offset % 64;
      if (stops) return at + __builtin_ctzll(stops);
      at += 64 - offset % 64;
    }
  }

  const uint8_t* end_ = nullptr;  // of the text

 private:
  uint64_t stops_[kStripBytes / 64 + 2];  // a bit for each byte of the strip, as little-endian words
};
