#include "envelope.h"

#include <cctype>
#include <cstring>

#include "numbers.h"
#include "text.h"

namespace streamlic {

namespace {

constexpr size_t kMaxKeys = 20;
constexpr size_t kShownCharacters = 60;
constexpr size_t kCountDigits = 18;

bool is(Text text, const char* word) {
  return text.size == std::strlen(word) && std::memcmp(text.data, word, text.size) == 0;
}

bool is_whole_number(Text value) {
  return (value[0] == '-' || (value[0] >= '0' && value[0] <= '9')) &&
         is_integer(value.data, value.size);
}

std::string shown(const std::string& key) {
  return std::string(first_characters(key, kShownCharacters));
}

bool says_next(const std::string& key) {
  std::string lower;
  for (const char c : key) lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower.find("next") != std::string::npos;
}

// Returns whether the value is what the fact must be, null included.
bool take_cursor(Text value, std::optional<std::string>* cursor) {
  if (value[0] == '"') {
    *cursor = text_of(value.data, value.size);
  } else if (is_whole_number(value)) {
    *cursor = std::string(reinterpret_cast<const char*>(value.data), value.size);
  } else if (is(value, "null")) {
    cursor->reset();
  } else {
    return false;
  }
  return true;
}

bool take_count(Text value, std::optional<int64_t>* count) {
  int64_t number = 0;
  if (is_whole_number(value) && value.size <= kCountDigits) {
    to_int64(value.data, value.size, &number);
    *count = number;
  } else if (is(value, "null")) {
    count->reset();
  } else {
    return false;
  }
  return true;
}

bool take_flag(Text value, bool* flag) {
  if (!is(value, "true") && !is(value, "false") && !is(value, "null")) return false;
  *flag = is(value, "true");
  return true;
}

}  // namespace

void Envelope::note_key(const std::string& key) {
  if (keys.size() < kMaxKeys) keys.push_back(shown(key));
}

void Envelope::note(const std::string& key, Text value, size_t index, bool is_trutos) {
  note_key(key);
  const char* expected = nullptr;
  if (key == "next_cursor") {
    if (!take_cursor(value, &next_cursor)) expected = "a string";
  } else if (key == "prev_cursor") {
    if (!take_cursor(value, &prev_cursor)) expected = "a string";
  } else if (key == "result_count") {
    if (!take_count(value, &result_count)) expected = "a whole number";
  } else if (key == "is_partial_response") {
    if (!take_flag(value, &is_partial_response)) expected = "true or false";
  } else if (!is_trutos && says_next(key) && !is(value, "null") && !is(value, "false") &&
             !is(value, "\"\"")) {
    next_link = shown(key);
  }
  if (expected && is_trutos) {
    throw Malformed{std::string("expected ") + expected + " or null", index, {Step(key)}};
  }
}

}  // namespace streamlic
