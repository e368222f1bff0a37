#include "core/body/signs.h"

#include <algorithm>
#include <climits>
#include <cstring>
#include <initializer_list>
#include <string_view>

#include "core/instruction_set.h"
#include "core/json/text.h"

#if defined(STREAMLIC_HAS_SSE2)
#include <immintrin.h>
#elif defined(STREAMLIC_HAS_NEON)
#include <arm_neon.h>
#endif

namespace streamlic {

namespace {

constexpr std::string_view kReportMarks[] = {"\"statusCode\"", "\"truto_is_remote_error\"",
                                             "\"error\"", "\"success\""};
constexpr size_t kRarePairs[] = {7, 16, 2, 3};  // "Co", "_e", "rr" and "cc"
constexpr size_t kKeptUnits = 1000;             // of a long text
constexpr std::string_view kEnvelopeMarks[] = {"\"result", "_cursor\"", "\"is_partial_response\""};
constexpr std::string_view kEnvelopeKeys[] = {"result", "next_cursor", "prev_cursor",
                                              "result_count", "is_partial_response"};
constexpr std::string_view kReportKeys[] = {
    "statusCode",   "truto_is_remote_error", "error", "errors", "message", "details", "success",
    "raw_response", "truto_error_insight"};
constexpr std::string_view kSpringsKeys[] = {"status", "path", "timestamp"};  // and "error"

const uint8_t* find(const uint8_t* begin, const uint8_t* end, std::string_view mark) {
  const void* const found =
      memmem(begin, static_cast<size_t>(end - begin), mark.data(), mark.size());
  return found ? static_cast<const uint8_t*>(found) : end;
}

#if defined(STREAMLIC_HAS_SSE2)

// The same, several times faster if the two bytes at `pair` of the mark are a rare pair.
const uint8_t* find_by_pair(const uint8_t* begin, const uint8_t* end, std::string_view mark,
                            size_t pair) {
  const __m128i first = _mm_set1_epi8(mark[pair]);
  const __m128i second = _mm_set1_epi8(mark[pair + 1]);
  constexpr size_t kWidth = 16;
  for (; static_cast<size_t>(end - begin) >= mark.size() + kWidth; begin += kWidth) {
    const auto* const at = reinterpret_cast<const __m128i*>(begin + pair);
    const auto* const next = reinterpret_cast<const __m128i*>(begin + pair + 1);
    const __m128i pairs = _mm_and_si128(_mm_cmpeq_epi8(_mm_loadu_si128(at), first),
                                        _mm_cmpeq_epi8(_mm_loadu_si128(next), second));
    for (auto found = static_cast<unsigned>(_mm_movemask_epi8(pairs)); found; found &= found - 1) {
      const uint8_t* const text = begin + __builtin_ctz(found);
      if (std::memcmp(text, mark.data(), mark.size()) == 0) return text;
    }
  }
  return find(begin, end, mark);
}

#elif defined(STREAMLIC_HAS_NEON)

const uint8_t* find_by_pair(const uint8_t* begin, const uint8_t* end, std::string_view mark,
                            size_t pair) {
  const uint8x16_t first = vdupq_n_u8(static_cast<uint8_t>(mark[pair]));
  const uint8x16_t second = vdupq_n_u8(static_cast<uint8_t>(mark[pair + 1]));
  constexpr size_t kWidth = 16;
  for (; static_cast<size_t>(end - begin) >= mark.size() + kWidth; begin += kWidth) {
    const uint8x16_t pairs = vandq_u8(vceqq_u8(vld1q_u8(begin + pair), first),
                                      vceqq_u8(vld1q_u8(begin + pair + 1), second));
    const uint8x8_t halves = vshrn_n_u16(vreinterpretq_u16_u8(pairs), 4);
    uint64_t found = vget_lane_u64(vreinterpret_u64_u8(halves), 0) & 0x8888888888888888u;
    for (; found; found &= found - 1) {
      const uint8_t* const text = begin + __builtin_ctzll(found) / 4;
      if (std::memcmp(text, mark.data(), mark.size()) == 0) return text;
    }
  }
  return find(begin, end, mark);
}

#else

const uint8_t* find_by_pair(const uint8_t* begin, const uint8_t* end, std::string_view mark,
                            size_t) {
  return find(begin, end, mark);
}

#endif

template <class Names>
bool has(const Names& names, const std::string& name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

// Calls `take(key, start, end)` for each member of a valid object, in document order.
template <class Take>
void for_each_member(Text text, Take take) {
  size_t index = after_white_space(text, 1);
  while (text[index] != '}') {
    const size_t key_end = string_end(text, index);
    const std::string key = key_of(text.data + index, key_end - index);
    const size_t start = after_white_space(text, after_white_space(text, key_end) + 1);
    const size_t end = scan_value(text, start, INT_MAX, true).end;
    take(key, start, end);
    index = after_white_space(text, end);
    if (text[index] == ',') index = after_white_space(text, index + 1);
  }
}

}  // namespace

std::string shortened(Text value) {
  if (value.size <= kSearchedBytes) {
    return {reinterpret_cast<const char*>(value.data), value.size};
  }
  if (value[0] != '"') return {};
  size_t end = 1;
  for (size_t units = 0; units < kKeptUnits && value[end] != '"'; ++units) {
    end += value[end] != '\\' ? 1 : value[end + 1] == 'u' ? 6 : 2;
    while ((value[end] & 0xC0) == 0x80) ++end;
  }
  return std::string(reinterpret_cast<const char*>(value.data), end) + "...\"";
}

void Report::take(const std::string& key, Text value) {
  const bool holds = value[0] != 'n' && !(are_rows_ && value[0] == '{');
  const bool is_id = key == "id";
  if (is_id) has_id_ = holds;
  const bool is_column =
      is_id || std::any_of(fields_->begin(), fields_->end(), [&](const Field& field) {
        return field.kind != Kind::Rescued && field.name == key;
      });
  is_data_ |= holds && is_column;
  if (!has(kReportKeys, key) && !has(kSpringsKeys, key)) return;
  const auto member = std::find_if(members_.begin(), members_.end(),
                                   [&](const auto& one) { return one.first == key; });
  if (member == members_.end()) {
    members_.emplace_back(key, shortened(value));
  } else {
    member->second = shortened(value);
  }
}

std::string Report::json() const {
  std::string json = "{";
  for (const auto& [key, value] : members_) {
    if (json.size() > 1) json += ',';
    json += '"' + key + "\":" + (value.empty() ? "\"...\"" : value);
  }
  return json + '}';
}

Report report_in(Text record, const std::vector<Field>& fields) {
  Report report(fields, false);
  for_each_member(record, [&](const std::string& key, size_t start, size_t end) {
    report.take(key, {record.data + start, end - start});
  });
  return report;
}

bool ReportMarks::are_in(const uint8_t* begin, const uint8_t* end, const uint8_t* text_end) {
  bool are_there = false;
  for (size_t i = 0; i < marks_; ++i) {
    if (next_[i] < begin) next_[i] = find_by_pair(begin, text_end, kReportMarks[i], kRarePairs[i]);
    are_there |= next_[i] < end;
  }
  return are_there;
}

bool is_envelope(Text line) {
  const uint8_t* const end = line.data + line.size;
  const bool may_be =
      std::any_of(std::begin(kEnvelopeMarks), std::end(kEnvelopeMarks),
                  [&](std::string_view mark) { return find(line.data, end, mark) != end; });
  if (!may_be) return false;
  bool has_rows = false, has_fact = false, is_known = true, has_id = false;
  for_each_member(line, [&](const std::string& key, size_t start, size_t) {
    const bool is_envelopes = has(kEnvelopeKeys, key);
    has_rows |= key == "result" && line[start] == '[';
    has_fact |= is_envelopes;
    has_id |= key == "id" && line[start] != 'n';
    is_known &= is_envelopes || key == "limit" || has(kReportKeys, key);
  });
  return !has_id && (has_rows || (is_known && has_fact));
}

bool lacks_member(Text record, const std::string& name) {
  bool lacks = true;
  for_each_member(record, [&](const std::string& key, size_t start, size_t) {
    if (key == name) lacks = record[start] == 'n';
  });
  return lacks;
}

}  // namespace streamlic
