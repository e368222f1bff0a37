#include "core/body/value_end.h"

#include "core/instruction_set.h"

#if defined(STREAMLIC_HAS_SSE2)
#include <immintrin.h>
#endif

namespace streamlic {

namespace {

#if defined(STREAMLIC_HAS_SSE2)

// A bit for each of 64 bytes of these kinds.
struct Bits {
  uint64_t quotes = 0, slashes = 0, openers = 0, closers = 0;
};

uint64_t equal(__m128i bytes, char byte) {
  return static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte))));
}

Bits bits_of(const uint8_t* at) {
  Bits bits;
  for (unsigned i = 0; i < 64; i += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at + i));
    const __m128i folded = _mm_or_si128(bytes, _mm_set1_epi8(0x20));  // "[" as "{", "]" as "}"
    bits.quotes |= equal(bytes, '"') << i;
    bits.slashes |= equal(bytes, '\\') << i;
    bits.openers |= equal(folded, '{') << i;
    bits.closers |= equal(folded, '}') << i;
  }
  return bits;
}

// The number of bits that are set. The compiler's own needs an instruction that SSE2 does not imply.
int count_of(uint64_t bits) {
  bits -= bits >> 1 & 0x5555555555555555u;
  bits = (bits & 0x3333333333333333u) + (bits >> 2 & 0x3333333333333333u);
  bits = (bits + (bits >> 4)) & 0x0F0F0F0F0F0F0F0Fu;
  return static_cast<int>(bits * 0x0101010101010101u >> 56);
}

// Each bit becomes the parity of the bits up to it.
uint64_t parities(uint64_t bits) {
  for (unsigned shift = 1; shift < 64; shift *= 2) bits ^= bits << shift;
  return bits;
}

#endif

}  // namespace

size_t ValueEnd::find(const uint8_t* bytes, size_t size) {
  size_t done = 0;
#if defined(STREAMLIC_HAS_SSE2)
  for (; size - done >= 64; done += 64) {
    const Bits bits = bits_of(bytes + done);
    if (!bits.slashes && !is_escaped_) {
      const uint64_t in_string = parities(bits.quotes) ^ (in_string_ ? ~uint64_t{0} : 0);
      const uint64_t openers = bits.openers & ~in_string;
      const uint64_t closers = bits.closers & ~in_string;
      const int closed = count_of(closers);
      if (open_ > closed) {
        open_ += count_of(openers) - closed;
        in_string_ = in_string >> 63;
        continue;
      }
    }
    const size_t end = find_slowly(bytes + done, 64);
    if (end != kNone) return done + end;
  }
#endif
  const size_t end = find_slowly(bytes + done, size - done);
  return end == kNone ? kNone : done + end;
}

size_t ValueEnd::find_slowly(const uint8_t* bytes, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    const uint8_t byte = bytes[i];
    if (is_escaped_) {
      is_escaped_ = false;
    } else if (in_string_) {
      is_escaped_ = byte == '\\';
      in_string_ = byte != '"';
    } else if (byte == '"') {
      in_string_ = true;
    } else if ((byte | 0x20) == '{') {
      ++open_;
    } else if ((byte | 0x20) == '}' && --open_ <= 0) {
      return i + 1;
    }
  }
  return kNone;
}

}  // namespace streamlic
