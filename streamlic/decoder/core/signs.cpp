#include "signs.h"

#include <algorithm>
#include <climits>
#include <cstring>
#include <initializer_list>
#include <string_view>

#include "text.h"

namespace streamlic {

namespace {

constexpr std::string_view kReportMarks[] = {"\"statusCode\"", "\"truto_is_remote_error\""};
constexpr std::string_view kEnvelopeMarks[] = {"\"result", "_cursor\"", "\"is_partial_response\""};
constexpr std::string_view kEnvelopeKeys[] = {"result", "next_cursor", "prev_cursor", "result_count",
                                              "is_partial_response"};
constexpr std::string_view kReportKeys[] = {
    "statusCode", "truto_is_remote_error", "error",        "errors",             "message",
    "details",    "success",               "raw_response", "truto_error_insight"};

const uint8_t* find(const uint8_t* begin, const uint8_t* end, std::string_view mark) {
  const void* const found =
      memmem(begin, static_cast<size_t>(end - begin), mark.data(), mark.size());
  return found ? static_cast<const uint8_t*>(found) : end;
}

template <class Names>
bool has(const Names& names, const std::string& name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

// Calls `take(key, start)` for each member of a valid object, in document order.
template <class Take>
void for_each_member(Text text, Take take) {
  size_t index = after_white_space(text, 1);
  while (text[index] != '}') {
    const size_t key_end = string_end(text, index);
    const std::string key = key_of(text.data + index, key_end - index);
    const size_t start = after_white_space(text, after_white_space(text, key_end) + 1);
    take(key, start);
    index = after_white_space(text, value_end(text, start, INT_MAX, true));
    if (text[index] == ',') index = after_white_space(text, index + 1);
  }
}

}  // namespace

bool ReportMarks::are_in(const uint8_t* begin, const uint8_t* end, const uint8_t* text_end) {
  bool are_there = false;
  for (size_t i = 0; i < next_.size(); ++i) {
    if (next_[i] < begin) next_[i] = find(begin, text_end, kReportMarks[i]);
    are_there |= next_[i] < end;
  }
  return are_there;
}

bool is_envelope(Text line) {
  const uint8_t* const end = line.data + line.size;
  const bool may_be = std::any_of(
      std::begin(kEnvelopeMarks), std::end(kEnvelopeMarks),
      [&](std::string_view mark) { return find(line.data, end, mark) != end; });
  if (!may_be) return false;
  bool has_rows = false, has_fact = false, is_known = true;
  for_each_member(line, [&](const std::string& key, size_t start) {
    const bool is_envelopes = has(kEnvelopeKeys, key);
    has_rows |= key == "result" && line[start] == '[';
    has_fact |= is_envelopes;
    is_known &= is_envelopes || has(kReportKeys, key);
  });
  return has_rows || (is_known && has_fact);
}

bool lacks_member(Text record, const std::string& name) {
  bool lacks = true;
  for_each_member(record, [&](const std::string& key, size_t start) {
    if (key == name) lacks = record[start] == 'n';
  });
  return lacks;
}

}  // namespace streamlic
