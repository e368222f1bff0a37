#include <algorithm>
#include <cstring>
#include <string>

#include "core/body/rescue.h"
#include "core/json/text.h"

namespace streamlic {

namespace {

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

}  // namespace streamlic
