#include "body.h"

#include <algorithm>

#include "text.h"

namespace streamlic {

Body::Body(const Schema& schema, const Options& options, Simd simd, Window& window)
    : options_(options),
      is_trutos_(options.rows_path == std::vector<std::string>{"result"}),
      window_(window),
      rows_(schema, options, simd, window, envelope_),
      step_(options.is_lines ? &Body::line : &Body::top) {}

void Body::read() {
  path_in_progress_.clear();
  rows_.moved();
  while (window_.index < window_.leave_at && (this->*step_)()) {
  }
}

bool Body::end() {
  const bool is_complete = step_ == &Body::after_body || step_ == &Body::line;
  if (!is_complete || !path_in_progress_.empty()) return false;
  rows_.end();
  return true;
}

// ---- the envelope

bool Body::top() {
  if (!window_.has_byte()) return false;
  const uint8_t byte = window_.text[window_.index];
  if (byte == '[') {
    open_rows();
  } else if (byte == '{') {
    open_envelope();
  } else if (window_.may_be_byte_order_mark()) {
    return false;
  } else {
    throw Malformed{"expected an object or an array", window_.index, {}};
  }
  return true;
}

void Body::open_envelope() {
  open_bracket();
  step_ = &Body::first_member;
}

bool Body::first_member() {
  return window_.has_byte() && window_.text[window_.index] == '}' ? end_envelope() : member();
}

bool Body::member() {
  if (!window_.has_byte()) return false;
  try {
    const MemberKey name = key();
    if (leads_to_rows(name)) return true;
    const size_t end = window_.value_end(name.value, depth(), Step(name.text));
    if (open_brackets_ == 1) {
      const Text value{window_.text.data + name.value, end - name.value};
      envelope_.note(name.text, value, name.value, is_trutos_);
    }
    window_.index = end;
  } catch (const Unfinished& stop) {
    return unfinished(stop.path);
  }
  step_ = &Body::after_member;
  return true;
}

// Steps into the value if it holds the rows, or is on the path to them.
bool Body::leads_to_rows(const MemberKey& key) {
  if (key.text != options_.rows_path[path_.size()]) return false;
  const uint8_t byte = window_.text[key.value];
  const bool is_last_step = path_.size() + 1 == options_.rows_path.size();
  if (is_last_step && byte != '{' && byte != '[') {
    throw Malformed{"expected an array or an object of rows", key.value, {Step(key.text)}};
  }
  if (is_last_step && has_rows_) {
    throw Malformed{
        "expected the rows once, got them a second time", key.value, {Step(key.text)}};
  }
  if (byte != '{' && !is_last_step) return false;
  if (path_.empty()) envelope_.note_key(key.text);
  path_.emplace_back(key.text);
  window_.index = key.value;
  if (is_last_step) {
    open_rows();
  } else {
    open_envelope();
  }
  return true;
}

bool Body::after_member() {
  return separator('}', &Body::end_envelope, &Body::member);
}

bool Body::end_envelope() {
  if (open_brackets_ == 1 && !has_rows_) throw_no_rows();
  return close_bracket();
}

void Body::throw_no_rows() const {
  std::string keys;
  for (const std::string& key : envelope_.keys) keys += key + ", ";
  keys.resize(keys.empty() ? 0 : keys.size() - 2);
  if (keys.empty()) keys = "none";
  std::string rows_at;
  for (const std::string& step : options_.rows_path) rows_at += (rows_at.empty() ? "" : ".") + step;
  throw Malformed{"expected rows at " + rows_at + ", got an envelope with the keys: " + keys +
                      "; --rows-at names the path to the rows, --lines reads newline-delimited "
                      "records,",
                  window_.index,
                  {}};
}

// ---- the rows

void Body::open_rows() {
  const uint8_t byte = window_.text[window_.index];
  has_rows_ = true;
  rows_closer_ = static_cast<uint8_t>(byte + 2);
  envelope_.is_keyed = byte == '{';
  open_bracket();
  step_ = &Body::first_row;
}

bool Body::first_row() {
  return window_.has_byte() && window_.text[window_.index] == rows_closer_ ? close_bracket() : row();
}

bool Body::row() {
  if (!window_.has_byte()) return false;
  const Text text = window_.text;
  size_t& index = window_.index;
  try {
    if (envelope_.is_keyed) {
      const MemberKey name = key();
      if (!rows_.read(name.value, &name.text, depth())) return unfinished({});
    } else {
      while (true) {  // as long as one row follows the other
        if (!rows_.read(index, nullptr, depth())) return unfinished({});
        if (index + 1 >= text.size || text[index] != ',' || text[index + 1] != '{' ||
            index >= window_.leave_at) {
          break;
        }
        ++index;
      }
    }
  } catch (const Unfinished& stop) {
    return unfinished(stop.path);
  }
  step_ = &Body::after_row;
  return true;
}

bool Body::after_row() {
  return separator(rows_closer_, &Body::close_bracket, &Body::row);
}

bool Body::line() {
  if (!window_.has_byte() || window_.may_be_byte_order_mark()) return false;
  try {
    if (!rows_.read(window_.index, nullptr, depth())) return unfinished({});
  } catch (const Unfinished& stop) {
    return unfinished(stop.path);
  }
  step_ = &Body::after_line;
  return true;
}

bool Body::after_line() {
  const uint8_t* const start = window_.text.data + window_.index;
  const bool has_more = window_.has_byte();
  const uint8_t* const behind = window_.text.data + window_.index;
  if (std::find(start, behind, '\n') != behind || (!has_more && window_.at_end)) {
    step_ = &Body::line;
    return true;
  }
  if (has_more) throw Malformed{"expected a line feed after the record", window_.index, {}};
  return false;
}

bool Body::after_body() {
  if (window_.has_byte()) {
    throw Malformed{"expected nothing after the end of the JSON", window_.index, {}};
  }
  return false;
}

// ---- what the steps are made of

void Body::open_bracket() {
  if (open_brackets_ == options_.max_depth) {
    throw Malformed{"too many open brackets", window_.index, {}, Fault::TooDeep};
  }
  ++open_brackets_;
  ++window_.index;
}

bool Body::close_bracket() {
  --open_brackets_;
  ++window_.index;
  if (!path_.empty()) path_.pop_back();
  step_ = open_brackets_ ? &Body::after_member : &Body::after_body;
  return true;
}

bool Body::separator(uint8_t closer, StepFunction at_closer, StepFunction at_comma) {
  if (!window_.has_byte()) return false;
  const uint8_t byte = window_.text[window_.index];
  if (byte == closer) return (this->*at_closer)();
  if (byte != ',') {
    throw Malformed{std::string("expected , or ") + static_cast<char>(closer), window_.index, {}};
  }
  ++window_.index;
  step_ = at_comma;
  return true;
}

// The key at the index, and where its value begins.
Body::MemberKey Body::key() const {
  const Text text = window_.text;
  const size_t start = window_.index;
  if (text[start] != '"') throw Malformed{"expected a key in double quotes", start, {}};
  try {
    const size_t end = string_end(text, start);
    MemberKey key{text_of(text.data + start, end - start), 0};
    const size_t colon = after_white_space(text, end);
    if (colon < text.size && text[colon] != ':') {
      throw Malformed{"expected : after the key", colon, {Step(key.text)}};
    }
    key.value = after_white_space(text, colon + 1);
    if (key.value >= text.size) throw Unfinished{{Step(key.text)}};
    window_.check_bytes(key.value);
    return key;
  } catch (const Malformed& malformed) {
    window_.check_bytes(malformed.index);
    throw;
  }
}

// Leaves what begins at the index for later; `path` leads to where it breaks off.
bool Body::unfinished(Path path) {
  window_.wait_for_more();
  if (!path.empty()) path_in_progress_ = std::move(path);
  return false;
}

}  // namespace streamlic
