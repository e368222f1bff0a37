#include "core/body/body.h"

#include <algorithm>
#include <cstring>

#include "core/body/signs.h"
#include "core/json/text.h"

namespace streamlic {

Body::Body(const Schema& schema, const Options& options, InstructionSet instructions,
           Window& window)
    : options_(options),
      window_(window),
      rows_(schema, options, instructions, window, envelope_),
      step_(options.is_lines ? &Body::line : &Body::top),
      fields_(schema.fields) {}

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
    begin_envelope();
  } else if (window_.may_be_byte_order_mark()) {
    return false;
  } else {
    throw Malformed{ErrorCode::Top, window_.index, {}};
  }
  return true;
}

void Body::begin_envelope() {
  remark(Remark::Kind::Begin, window_.index);
  has_rows_ = false;
  rows_before_ = envelope_.rows;
  open_envelope();
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
  MemberKey name = key();
  if (name.is_partial()) return wait(std::move(name.path));
  if (leads_to_rows(name)) return true;
  Scan scan = rows_.scan_value(name.value, depth(), Step(name.text));
  if (scan.is_partial()) return wait(std::move(scan.path));
  note_member(name, scan.end);
  window_.index = scan.end;
  step_ = &Body::after_member;
  return true;
}

// Steps into the value if it holds the rows, or is on the path to them.
bool Body::leads_to_rows(const MemberKey& key) {
  if (key.text != options_.rows_path[path_.size()]) return false;
  const uint8_t byte = window_.text[key.value];
  const bool is_last_step = path_.size() + 1 == options_.rows_path.size();
  if (is_last_step) check_rows(key);
  if (byte == 'n' || (byte != '{' && !is_last_step)) return false;  // A null is an empty listing.
  if (path_.empty()) remark(Remark::Kind::Key, window_.index, {Step(key.text)});
  if (!options_.is_lines) path_.emplace_back(key.text);  // Lines' rows are numbered as one list.
  window_.index = key.value;
  if (is_last_step) {
    open_rows();
  } else {
    open_envelope();
  }
  return true;
}

void Body::check_rows(const MemberKey& key) const {
  const uint8_t byte = window_.text[key.value];
  if (byte != '{' && byte != '[' && byte != 'n') {
    throw Malformed{ErrorCode::Rows, key.value, {Step(key.text)}};
  }
  if (has_rows_) {
    throw Malformed{ErrorCode::SecondRows, key.value, {Step(key.text)}};
  }
  if (byte == '{' && !options_.takes_keyed) {
    throw Malformed{ErrorCode::KeyedRows, key.value, {Step(key.text)}};
  }
}

// Adds a remark about a member that ends here. Only cursors are never shortened.
void Body::note_member(const MemberKey& key, size_t end) {
  const auto* const value = reinterpret_cast<const char*>(window_.text.data + key.value);
  const size_t size = end - key.value;
  const bool is_null = size == 4 && std::memcmp(value, "null", 4) == 0;
  if (is_null && path_.size() + 1 == options_.rows_path.size() &&
      key.text == options_.rows_path.back()) {
    has_rows_ = true;
  }
  const bool is_cursor = path_.empty() && (key.text == "next_cursor" || key.text == "prev_cursor");
  remark(Remark::Kind::Member, key.value, joined(path_, {Step(key.text)}),
         is_cursor ? std::string(value, size) : shortened({window_.text.data + key.value, size}));
}

void Body::remark(Remark::Kind kind, size_t index, Path path, std::string text) {
  Remark said{kind, std::move(path), std::move(text),
              window_.position + static_cast<int64_t>(index)};
  if (kind == Remark::Kind::End) {
    said.rows = envelope_.rows;
    said.own_rows = envelope_.rows - rows_before_;
    said.has_rows = has_rows_;
  }
  envelope_.remarks.push_back(std::move(said));
}

bool Body::after_member() { return separator('}', &Body::end_envelope, &Body::member); }

bool Body::end_envelope() {
  if (open_brackets_ == 1) remark(Remark::Kind::End, window_.index);
  return close_bracket();
}

// ---- the rows

void Body::open_rows() {
  const uint8_t byte = window_.text[window_.index];
  has_rows_ = true;
  rows_closer_ = static_cast<uint8_t>(byte + 2);
  envelope_.is_keyed = byte == '{';
  report_.reset();
  if (envelope_.is_keyed && options_.has_reports) report_.emplace(fields_, true);
  open_bracket();
  step_ = &Body::first_row;
}

bool Body::first_row() {
  return window_.has_byte() && window_.text[window_.index] == rows_closer_ ? end_rows() : row();
}

bool Body::row() {
  if (!window_.has_byte()) return false;
  const Text text = window_.text;
  size_t& index = window_.index;
  if (envelope_.is_keyed) {
    MemberKey name = key();
    if (name.is_partial()) return wait(std::move(name.path));
    auto partial = rows_.read(name.value, &name.text, depth(), false);
    if (partial) return wait(std::move(*partial));
    hold_misfit();
    if (report_) report_->take(name.text, {text.data + name.value, index - name.value});
  } else {
    while (true) {  // while a row directly follows the one before
      auto partial = rows_.read(index, nullptr, depth(), true);
      if (partial) return wait(std::move(*partial));
      if (index + 1 >= text.size || text[index] != ',' || text[index + 1] != '{' ||
          index >= window_.leave_at) {
        break;
      }
      ++index;
    }
  }
  step_ = &Body::after_row;
  return true;
}

void Body::hold_misfit() {
  if (auto misfit = rows_.take_misfit()) {
    held_misfit_ = Verdict{misfit->code, std::move(misfit->argument),
                           window_.position + static_cast<int64_t>(misfit->index),
                           joined(path_, misfit->path)};
  }
}

bool Body::after_row() { return separator(rows_closer_, &Body::end_rows, &Body::row); }

bool Body::end_rows() {
  if (report_ && report_->may_be()) {
    remark(Remark::Kind::Rows, window_.index, path_, report_->json());
    envelope_.remarks.back().is_data = report_->is_data();
  }
  return close_bracket();
}

bool Body::line() {
  if (!window_.has_byte() || window_.may_be_byte_order_mark()) return false;
  const size_t start = window_.index;
  const bool may_be_envelope = options_.has_envelope_lines && window_.text[start] == '{';
  if (is_first_line_ && window_.text[start] == '[') {
    const Follow record = follow(start + 1, {"{"});
    const Follow nothing = record == Follow::No ? follow(start + 1, {"]"}) : record;
    if (nothing == Follow::Unknown) return wait({});
    if (nothing == Follow::Yes) {
      throw Malformed{ErrorCode::ArrayOfLines, start, {}};
    }
  }
  // An envelope whose rows come first is read as it arrives: such a line may have any length.
  if (may_be_envelope && may_begin_with_rows(start)) {
    const Follow rows = follow(start + 1, {"\"result\"", ":", "["});
    if (rows == Follow::Unknown) return wait({});
    if (rows == Follow::Yes) {
      begin_envelope();
      return true;
    }
  }
  auto partial = rows_.read(start, nullptr, depth(), false);
  if (partial) return wait(std::move(*partial));
  if (window_.index == start) {  // The line is an envelope.
    begin_envelope();
  } else {
    step_ = &Body::after_line;
  }
  return true;
}

// Whether the first key may be the key of the rows. In nearly all lines it is not.
bool Body::may_begin_with_rows(size_t start) const {
  const Text text = window_.text;
  return start + 2 >= text.size || text[start + 1] != '"' || text[start + 2] == 'r';
}

// Whether these tokens follow at `index`; unknown if more bytes are needed.
Body::Follow Body::follow(size_t index, std::initializer_list<std::string_view> tokens) const {
  const Text text = window_.text;
  for (const std::string_view token : tokens) {
    index = after_white_space(text, index);
    const size_t given = std::min(token.size(), text.size - index);
    if (std::memcmp(text.data + index, token.data(), given) != 0) return Follow::No;
    if (given < token.size()) {
      return window_.is_last ? Follow::No : Follow::Unknown;
    }
    index += given;
  }
  window_.check_bytes(index - 1);
  return Follow::Yes;
}

bool Body::after_line() {
  const uint8_t* const start = window_.text.data + window_.index;
  const bool has_more = window_.has_byte();
  const uint8_t* const end = window_.text.data + window_.index;
  if (std::find(start, end, '\n') != end || (!has_more && window_.at_end)) {
    is_first_line_ = false;
    step_ = &Body::line;
    return true;
  }
  if (has_more) throw Malformed{ErrorCode::LineFeed, window_.index, {}};
  return false;
}

bool Body::after_body() {
  if (window_.has_byte()) {
    throw Malformed{ErrorCode::End, window_.index, {}};
  }
  return false;
}

// ---- parts of the states

void Body::open_bracket() {
  if (open_brackets_ == options_.max_depth) {
    throw Malformed{ErrorCode::MaxDepth, window_.index, {}};
  }
  ++open_brackets_;
  ++window_.index;
}

bool Body::close_bracket() {
  --open_brackets_;
  ++window_.index;
  if (!path_.empty()) path_.pop_back();
  const StepFunction after = options_.is_lines ? &Body::after_line : &Body::after_body;
  step_ = open_brackets_ ? &Body::after_member : after;
  return true;
}

bool Body::separator(uint8_t closer, StepFunction at_closer, StepFunction at_comma) {
  if (!window_.has_byte()) return false;
  const uint8_t byte = window_.text[window_.index];
  if (byte == closer) return (this->*at_closer)();
  if (byte != ',') {
    throw Malformed{
        ErrorCode::CommaOrEnd, window_.index, {}, std::string(1, static_cast<char>(closer))};
  }
  ++window_.index;
  step_ = at_comma;
  return true;
}

// The key at the index, and where its value begins.
Body::MemberKey Body::key() const {
  const Text text = window_.text;
  const size_t start = window_.index;
  if (text[start] != '"') throw Malformed{ErrorCode::Key, start, {}};
  try {
    const size_t end = string_end(text, start);
    if (end == kPartial) return {};
    MemberKey key{key_of(text.data + start, end - start)};
    const size_t colon = after_white_space(text, end);
    if (colon < text.size && text[colon] != ':') {
      throw Malformed{ErrorCode::Colon, colon, {Step(key.text)}};
    }
    const size_t value = after_white_space(text, colon + 1);
    if (value >= text.size) {
      key.path = {Step(key.text)};
      return key;
    }
    window_.check_bytes(value);
    key.value = value;
    return key;
  } catch (const Malformed& malformed) {
    window_.check_bytes(malformed.index);
    throw;
  }
}

// Waits for more of the value at the index; `path` leads to where the bytes end.
bool Body::wait(Path path) {
  window_.wait_for_more();
  if (!path.empty()) path_in_progress_ = std::move(path);
  return false;
}

}  // namespace streamlic
