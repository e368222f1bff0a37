#include "core/json/utf8.h"

#include <cstring>

#if defined(STREAMLIC_AVX2)
#include <immintrin.h>
#endif

namespace streamlic {

namespace {

constexpr uint64_t kHighBits = 0x8080808080808080u;

uint64_t word_at(const uint8_t* bytes) {
  uint64_t word;
  std::memcpy(&word, bytes, 8);
  return word;
}

// Goes over ASCII, 64 bytes at a time as long as it can.
const uint8_t* after_ascii(const uint8_t* at, const uint8_t* end) {
  while (end - at >= 64) {
    uint64_t bits = 0;
    for (int i = 0; i < 8; ++i) bits |= word_at(at + i * 8);
    if (bits & kHighBits) break;
    at += 64;
  }
  while (end - at >= 8) {
    const uint64_t bits = word_at(at) & kHighBits;
    if (bits) break;
    at += 8;
  }
  while (at < end && *at < 0x80) ++at;
  return at;
}

bool is_tail(uint8_t byte) { return (byte & 0xC0) == 0x80; }

// Goes over whole two- and three-byte sequences of the common kinds; stops at any other.
const uint8_t* after_common(const uint8_t* at, const uint8_t* end) {
  while (end - at >= 3) {
    const uint8_t lead = *at;
    if (lead >= 0xC2 && lead <= 0xDF && is_tail(at[1])) {
      at += 2;
    } else if (lead >= 0xE1 && lead <= 0xEC && is_tail(at[1]) && is_tail(at[2])) {
      at += 3;
    } else {
      break;
    }
  }
  return at;
}

#if defined(STREAMLIC_AVX2)

// What two bytes that follow each other may have wrong, a bit each. Three tables, by the halves of the
// first byte and the upper half of the second, have the bits that each could stand for: what all three
// agree on is wrong. (J. Keiser, D. Lemire: Validating UTF-8 In Less Than One Instruction Per Byte, 2021.)
enum : uint8_t {
  kTooShort = 1 << 0,    // a lead without its tail
  kTooLong = 1 << 1,     // a tail after ASCII
  kOverlong3 = 1 << 2,   // E0 80..9F
  kTooLarge = 1 << 3,    // F4 90 and more
  kSurrogate = 1 << 4,   // ED A0..BF
  kOverlong2 = 1 << 5,   // C0, C1
  kTooLarge5 = 1 << 6,   // F5 and more, with a tail of 80..8F
  kOverlong4 = 1 << 6,   // F0 80..8F
  kTwoTails = 1 << 7,    // right only as the third or fourth byte
};
constexpr uint8_t kAny = kTooShort | kTooLong | kTwoTails;
constexpr uint8_t kFirstHigh[16] = {
    kTooLong,  kTooLong,  kTooLong,  kTooLong,  kTooLong, kTooLong, kTooLong, kTooLong,
    kTwoTails, kTwoTails, kTwoTails, kTwoTails, kTooShort | kOverlong2, kTooShort,
    kTooShort | kOverlong3 | kSurrogate, kTooShort | kTooLarge | kTooLarge5 | kOverlong4};
constexpr uint8_t kFirstLow[16] = {
    kAny | kOverlong3 | kOverlong2 | kOverlong4,
    kAny | kOverlong2,
    kAny,
    kAny,
    kAny | kTooLarge,
    kAny | kTooLarge | kTooLarge5,
    kAny | kTooLarge | kTooLarge5,
    kAny | kTooLarge | kTooLarge5,
    kAny | kTooLarge | kTooLarge5,
    kAny | kTooLarge | kTooLarge5,
    kAny | kTooLarge | kTooLarge5,
    kAny | kTooLarge | kTooLarge5,
    kAny | kTooLarge | kTooLarge5,
    kAny | kTooLarge | kTooLarge5 | kSurrogate,
    kAny | kTooLarge | kTooLarge5,
    kAny | kTooLarge | kTooLarge5};
constexpr uint8_t kTail = kTooLong | kOverlong2 | kTwoTails;
constexpr uint8_t kSecondHigh[16] = {
    kTooShort, kTooShort, kTooShort, kTooShort, kTooShort, kTooShort, kTooShort, kTooShort,
    kTail | kOverlong3 | kTooLarge5 | kOverlong4, kTail | kOverlong3 | kTooLarge,
    kTail | kSurrogate | kTooLarge, kTail | kSurrogate | kTooLarge,
    kTooShort, kTooShort, kTooShort, kTooShort};

#define STREAMLIC_WIDE __attribute__((target("avx2")))

STREAMLIC_WIDE inline __m256i looked_up(const uint8_t* table, __m256i indexes) {
  const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(half), indexes);
}

STREAMLIC_WIDE inline __m256i high_halves(__m256i bytes) {
  return _mm256_and_si256(_mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(0x0F));
}

STREAMLIC_WIDE inline __m256i block_at(const uint8_t* at) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
}

// What is wrong in a block that stands behind another one.
STREAMLIC_WIDE inline __m256i errors(__m256i before, __m256i block) {
  const __m256i seam = _mm256_permute2x128_si256(before, block, 0x21);
  const __m256i previous = _mm256_alignr_epi8(block, seam, 15);
  const __m256i low_half = _mm256_set1_epi8(0x0F);
  const __m256i wrong =
      _mm256_and_si256(_mm256_and_si256(looked_up(kFirstHigh, high_halves(previous)),
                                        looked_up(kFirstLow, _mm256_and_si256(previous, low_half))),
                       looked_up(kSecondHigh, high_halves(block)));
  // A third or fourth byte has to be a tail: there, two tails are right.
  const __m256i third =
      _mm256_subs_epu8(_mm256_alignr_epi8(block, seam, 14), _mm256_set1_epi8(0xE0 - 0x80));
  const __m256i fourth =
      _mm256_subs_epu8(_mm256_alignr_epi8(block, seam, 13), _mm256_set1_epi8(0xF0 - 0x80));
  const __m256i due =
      _mm256_and_si256(_mm256_or_si256(third, fourth), _mm256_set1_epi8(static_cast<char>(0x80)));
  return _mm256_xor_si256(due, wrong);
}

// Whether 128 bytes are ASCII.
STREAMLIC_WIDE inline bool is_ascii(const uint8_t* at) {
  const __m256i bytes = _mm256_or_si256(_mm256_or_si256(block_at(at), block_at(at + 32)),
                                        _mm256_or_si256(block_at(at + 64), block_at(at + 96)));
  return _mm256_movemask_epi8(bytes) == 0;
}

// Whether the last sequence before `at` is not whole.
inline bool is_cut(const uint8_t* at) { return at[-1] >= 0xC0 || at[-2] >= 0xE0 || at[-3] >= 0xF0; }

// Goes over sound blocks from the beginning of a sequence on, and stops at the beginning of one: before
// a block with something wrong in it, or the end.
STREAMLIC_WIDE const uint8_t* after_sound_blocks(const uint8_t* at, const uint8_t* end) {
  const __m256i nothing = _mm256_setzero_si256();
  __m256i before = nothing;
  bool is_due = false;
  const uint8_t* const begin = at;
  for (; end - at >= 64; at += 64) {
    const __m256i first = block_at(at);
    const __m256i second = block_at(at + 32);
    if (!is_due && _mm256_movemask_epi8(_mm256_or_si256(first, second)) == 0) {
      before = nothing;
      while (end - at >= 64 + 128 && is_ascii(at + 64)) at += 128;
      continue;
    }
    const __m256i wrong = _mm256_or_si256(errors(before, first), errors(first, second));
    if (!_mm256_testz_si256(wrong, wrong)) break;
    before = second;
    is_due = is_cut(at + 64);
  }
  // The last sequence may not be whole: back to where it begins.
  for (int length = 1; length <= 3 && at - begin >= length && at[-length] >= 0x80; ++length) {
    const uint8_t lead = at[-length];
    if (is_tail(lead)) continue;
    const int whole = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (whole > length) at -= length;
    break;
  }
  return at;
}

#endif

}  // namespace

int64_t Utf8Check::take(const uint8_t* bytes, size_t size) {
  const uint8_t* const end = bytes + size;
  const uint8_t* at = bytes;
  while (at < end) {
    if (!missing_) {
#if defined(STREAMLIC_AVX2)
      if (is_wide_) at = after_sound_blocks(at, end);
#endif
      at = after_ascii(at, end);
      at = after_common(at, end);
      if (at == end) break;
    }
    const uint8_t byte = *at;
    if (missing_) {
      if (byte < low_ || byte > high_) return at - bytes - static_cast<int64_t>(begun_);
      low_ = 0x80;
      high_ = 0xBF;
      --missing_;
      ++begun_;
    } else if (byte >= 0x80) {
      if (byte < 0xC2 || byte > 0xF4) return at - bytes;
      missing_ = byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
      begun_ = 1;
      low_ = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
      high_ = byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF;
    }
    ++at;
  }
  return kSound;
}

}  // namespace streamlic
