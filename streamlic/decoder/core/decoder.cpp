#include "decoder.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "rescue.h"
#include "text.h"

namespace streamlic {

namespace {

constexpr size_t kPieceBytes = 4096;
constexpr size_t kHeldBytes = size_t{1} << 20;
constexpr uint8_t kByteOrderMark[] = {0xEF, 0xBB, 0xBF};

Path joined(Path way, const Path& rest) {
  way.insert(way.end(), rest.begin(), rest.end());
  return way;
}

}  // namespace

Decoder::Decoder(std::shared_ptr<const Schema> schema, Options options, Simd simd)
    : schema_(std::move(schema)),
      options_(std::move(options)),
      is_trutos_(options_.rows_path == std::vector<std::string>{"result"}),
      reader_(make_record_reader(simd, *schema_)),
      utf8_(simd),
      step_(options_.is_lines ? &Decoder::line : &Decoder::top) {
  for (size_t i = 0; i < schema_->fields.size(); ++i) {
    if (schema_->fields[i].kind == Kind::Rescued) rescued_column_ = i;
  }
  batch_ = std::make_unique<Batch>(schema_->fields);
}

// ---- bytes: where they lie, and how long they are kept

bool Decoder::feed(const uint8_t* chunk, size_t size) {
  return guarded([&] {
    const int64_t offset = utf8_.take(chunk, size);
    if (offset != Utf8Check::kSound) return take_ill_formed(chunk, offset);
    // Of a character that has only begun nothing can be said as yet: it waits for the next chunk.
    const size_t begun = utf8_.begun();
    if (begun > size) {
      begun_.insert(begun_.end(), chunk, chunk + size);
    } else {
      take_begun();
      take(chunk, size - begun);
      begun_.assign(chunk + (size - begun), chunk + size);
    }
    fed_ += static_cast<int64_t>(size);
  });
}

// Of an ill-formed sequence the first byte is read alone: outside a string it is wrong as JSON, too.
void Decoder::take_ill_formed(const uint8_t* chunk, int64_t offset) {
  is_last_ = true;
  wanted_ = 0;
  if (offset < 0) {
    begun_.resize(1);
    take_begun();
    take(chunk, 0);
  } else {
    take_begun();
    take(chunk, static_cast<size_t>(offset) + 1);
  }
  verdict_ = {Fault::Malformed, "expected UTF-8, got bytes that are none", fed_ + offset,
              path_to_here(), ""};
}

bool Decoder::close() {
  return guarded([&] {
    at_end_ = is_last_ = true;
    take_begun();
    advance(held_.data(), held_.size(), SIZE_MAX);
    const bool is_complete = step_ == &Decoder::after_body || step_ == &Decoder::line;
    if (!is_complete || !path_in_progress_.empty()) {
      verdict_ = {Fault::Truncated, "the body ended before its JSON was complete", fed_,
                  path_to_here(), ""};
      return;
    }
    if (batch_->rows) end_batch();
  });
}

// Puts the first bytes of a character behind what is held.
void Decoder::take_begun() {
  held_.insert(held_.end(), begun_.begin(), begun_.end());
  waiting_ += begun_.size();
  begun_.clear();
}

Path Decoder::path_to_here() const { return joined(path_, path_in_progress_); }

template <class Work>
bool Decoder::guarded(Work work) {
  try {
    try {
      work();
    } catch (const Malformed& malformed) {
      set_verdict(malformed);
    } catch (const CapacityExceeded&) {
      verdict_ = {Fault::Capacity,
                  "expected at most 2 GiB of text in one column of a batch (batch_bytes)",
                  position_ + static_cast<int64_t>(index_), path_, ""};
    }
  } catch (const std::bad_alloc&) {  // While a verdict was written, too.
    verdict_.fault = Fault::Memory;
  }
  return verdict_.fault == Fault::None;
}

void Decoder::set_verdict(const Malformed& malformed) {
  verdict_ = {malformed.fault, malformed.reason,
              position_ + static_cast<int64_t>(malformed.index), joined(path_, malformed.path),
              verdict_.value};
  if (malformed.fault == Fault::TooDeep) {
    verdict_.reason =
        "expected at most " + std::to_string(options_.max_depth) + " open brackets (max_depth)";
  }
}

void Decoder::take(const uint8_t* chunk, size_t size) {
  if (waiting_ + size < wanted_) {
    held_.insert(held_.end(), chunk, chunk + size);
    waiting_ += size;
    return;
  }
  if (!held_.empty()) finish_held(&chunk, &size);
  if (held_.empty()) {
    advance(chunk, size, SIZE_MAX);
    keep_rest();
  }
}

// Reads on in the held bytes, completed from the chunk piece by piece, until reading has left them.
void Decoder::finish_held(const uint8_t** chunk, size_t* size) {
  size_t old_bytes = held_.size();
  size_t copied = 0;
  const bool was_last = is_last_;
  do {
    const size_t piece = std::min(*size - copied, std::max(held_.size(), kPieceBytes));
    held_.insert(held_.end(), *chunk + copied, *chunk + copied + piece);
    copied += piece;
    is_last_ = was_last && copied == *size;
    advance(held_.data(), held_.size(), old_bytes);
    if (index_ >= old_bytes) {
      const size_t used = copied - (held_.size() - index_);
      position_ += static_cast<int64_t>(index_);
      *chunk += used;
      *size -= used;
      held_.clear();
      if (held_.capacity() > kHeldBytes) held_.shrink_to_fit();
      index_ = 0;
      is_last_ = was_last;
      return;
    }
    old_bytes -= index_;
    keep_rest();
  } while (copied < *size);
}

// Keeps what the last step needs again.
void Decoder::keep_rest() {
  position_ += static_cast<int64_t>(index_);
  if (text_.data == held_.data() && !held_.empty()) {
    held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(index_));
  } else {
    held_.assign(text_.data + index_, text_.data + text_.size);
  }
  index_ = 0;
}

void Decoder::advance(const uint8_t* data, size_t size, size_t leave_at) {
  text_ = {data, size};
  reader_->forget();
  index_ = 0;
  leave_at_ = leave_at;
  waiting_ = wanted_ = 0;
  path_in_progress_.clear();
  if (!is_foreseen_) foresee_batch();
  while (index_ < leave_at_ && (this->*step_)()) {
  }
}

// ---- the body's own structure

bool Decoder::top() {
  if (!has_byte()) return false;
  const uint8_t byte = text_[index_];
  if (byte == '[') {
    open_rows();
  } else if (byte == '{') {
    is_enveloped_ = true;
    open_envelope();
  } else if (may_be_byte_order_mark()) {
    return false;
  } else {
    throw Malformed{"expected an object or an array", index_, {}};
  }
  return true;
}

void Decoder::open_envelope() {
  open_bracket();
  step_ = &Decoder::first_member;
}

bool Decoder::first_member() {
  return has_byte() && text_[index_] == '}' ? end_envelope() : member();
}

bool Decoder::member() {
  if (!has_byte()) return false;
  const size_t start = index_;
  try {
    const MemberKey name = key(start);
    if (leads_to_rows(name)) return true;
    const size_t end = checked_value_end(name.value, Step(name.text), start);
    if (open_brackets_ == 1) {
      envelope_.note(name.text, {text_.data + name.value, end - name.value}, name.value, is_trutos_);
    }
    index_ = end;
  } catch (const Unfinished& stop) {
    return unfinished(start, stop.path);
  }
  step_ = &Decoder::after_member;
  return true;
}

// Steps into the value if it holds the rows, or is on the path to them.
bool Decoder::leads_to_rows(const MemberKey& key) {
  if (key.text != options_.rows_path[path_.size()]) return false;
  const uint8_t byte = text_[key.value];
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
  index_ = key.value;
  if (is_last_step) {
    open_rows();
  } else {
    open_envelope();
  }
  return true;
}

bool Decoder::after_member() {
  return separator('}', &Decoder::end_envelope, &Decoder::member);
}

bool Decoder::end_envelope() {
  if (open_brackets_ == 1 && !has_rows_) {
    std::string keys;
    for (const std::string& key : envelope_.keys) keys += key + ", ";
    keys.resize(keys.empty() ? 0 : keys.size() - 2);
    if (keys.empty()) keys = "none";
    std::string rows_at;
    for (const std::string& step : options_.rows_path) rows_at += (rows_at.empty() ? "" : ".") + step;
    throw Malformed{"expected rows at " + rows_at + ", got an envelope with the keys: " + keys +
                        "; --rows-at names the path to the rows, --lines reads newline-delimited "
                        "records,",
                    index_,
                    {}};
  }
  return close_bracket();
}

void Decoder::open_rows() {
  const uint8_t byte = text_[index_];
  has_rows_ = true;
  rows_closer_ = static_cast<uint8_t>(byte + 2);
  envelope_.is_keyed = byte == '{';
  open_bracket();
  step_ = &Decoder::first_row;
}

bool Decoder::first_row() {
  return has_byte() && text_[index_] == rows_closer_ ? close_bracket() : row();
}

bool Decoder::row() {
  if (!has_byte()) return false;
  try {
    if (envelope_.is_keyed) {
      const MemberKey name = key(index_);
      if (!read_row(name.value, &name.text, index_)) return false;
    } else {
      while (true) {  // as long as one row follows the other
        if (!read_row(index_, nullptr, index_)) return false;
        if (index_ + 1 >= text_.size || text_[index_] != ',' || text_[index_ + 1] != '{' ||
            index_ >= leave_at_) {
          break;
        }
        ++index_;
      }
    }
  } catch (const Unfinished& stop) {
    return unfinished(index_, stop.path);
  }
  step_ = &Decoder::after_row;
  return true;
}

bool Decoder::after_row() {
  return separator(rows_closer_, &Decoder::close_bracket, &Decoder::row);
}

bool Decoder::line() {
  if (!has_byte()) return false;
  const size_t start = index_;
  if (may_be_byte_order_mark()) return false;
  try {
    if (!read_row(start, nullptr, start)) return false;
  } catch (const Unfinished& stop) {
    return unfinished(start, stop.path);
  }
  step_ = &Decoder::after_line;
  return true;
}

bool Decoder::after_line() {
  const size_t start = index_;
  const bool has_more = has_byte();
  const uint8_t* const behind = text_.data + index_;
  if (std::find(text_.data + start, behind, '\n') != behind || (!has_more && at_end_)) {
    step_ = &Decoder::line;
    return true;
  }
  if (has_more) throw Malformed{"expected a line feed after the record", index_, {}};
  return false;
}

bool Decoder::after_body() {
  if (has_byte()) throw Malformed{"expected nothing after the end of the JSON", index_, {}};
  return false;
}

// ---- what the steps are made of

// Goes over white space; returns whether a byte follows.
bool Decoder::has_byte() {
  index_ = after_white_space(text_, index_);
  return index_ < text_.size;
}

// Throws at a byte-order mark; returns whether more bytes could make it one.
bool Decoder::may_be_byte_order_mark() {
  const size_t given = std::min<size_t>(text_.size - index_, 3);
  if (std::memcmp(text_.data + index_, kByteOrderMark, given) != 0) return false;
  if (given == 3) throw Malformed{"expected JSON, got a byte-order mark", index_, {}};
  return !is_last_;
}

void Decoder::open_bracket() {
  if (open_brackets_ == options_.max_depth) {
    throw Malformed{"too many open brackets", index_, {}, Fault::TooDeep};
  }
  ++open_brackets_;
  ++index_;
}

bool Decoder::close_bracket() {
  --open_brackets_;
  ++index_;
  if (!path_.empty()) path_.pop_back();
  step_ = open_brackets_ ? &Decoder::after_member : &Decoder::after_body;
  return true;
}

bool Decoder::separator(uint8_t closer, StepFunction at_closer, StepFunction at_comma) {
  if (!has_byte()) return false;
  const uint8_t byte = text_[index_];
  if (byte == closer) return (this->*at_closer)();
  if (byte != ',') {
    throw Malformed{std::string("expected , or ") + static_cast<char>(closer), index_, {}};
  }
  ++index_;
  step_ = at_comma;
  return true;
}

// The key at the index, and where its value begins.
Decoder::MemberKey Decoder::key(size_t since) {
  if (text_[since] != '"') throw Malformed{"expected a key in double quotes", since, {}};
  try {
    const size_t end = string_end(text_, since);
    MemberKey key{text_of(text_.data + since, end - since), 0};
    const size_t colon = after_white_space(text_, end);
    if (colon < text_.size && text_[colon] != ':') {
      throw Malformed{"expected : after the key", colon, {Step(key.text)}};
    }
    key.value = after_white_space(text_, colon + 1);
    if (key.value >= text_.size) throw Unfinished{{Step(key.text)}};
    check_bytes(since, key.value);
    return key;
  } catch (const Malformed& malformed) {
    check_bytes(since, malformed.index);
    throw;
  }
}

// Reads the row that begins at `start`, and with no key those that follow, and goes behind the last.
// Returns false where more is needed.
bool Decoder::read_row(size_t start, const std::string* key, size_t since) {
  const uint8_t* const first = text_.data + start;
  const uint8_t* const behind =
      reader_->read(first, text_.data + text_.size, batch_->columns, batch_->rows,
                    options_.max_depth - open_brackets_, key || options_.is_lines ? Room{} : room(start));
  if (reader_->plain_rows()) {
    const int64_t rows = reader_->plain_rows();
    envelope_.rows += rows;
    batch_->rows += rows;
    batch_->bytes += reader_->begin() - first - rows;  // without their commas
    index_ = start = since = static_cast<size_t>(reader_->begin() - text_.data);
  }
  if (behind) {
    const size_t end = static_cast<size_t>(behind - text_.data);
    if (end - since <= static_cast<size_t>(options_.max_record_bytes)) {
      end_row(start, end, key);
      index_ = end;
      return true;
    }
  }
  batch_->rollback();
  if (!behind && reader_->stop() == Stop::AtEnd && !is_last_) return unfinished(since, {});
  const size_t end = checked_value_end(start, row_step(key), since);
  // Valid after all: a number that the end of the body ends.
  std::vector<uint8_t> scalar(text_.data + start, text_.data + end);
  scalar.push_back(' ');
  const uint8_t* const scalar_end = scalar.data() + scalar.size();
  reader_->forget();
  if (!reader_->read(scalar.data(), scalar_end, batch_->columns, batch_->rows, 0, {})) {
    throw Malformed{"expected what this decoder takes for JSON: please report this body", start, {}};
  }
  reader_->forget();
  end_row(start, end, key);
  index_ = end;
  return true;
}

// How many rows may follow each other from `start` on, so that the batch is not full before the last,
// and none of them leaves what is to be read here.
Room Decoder::room(size_t start) const {
  const auto left = static_cast<size_t>(options_.batch_bytes - batch_->bytes);
  const size_t most = std::min({left, text_.size - start, leave_at_ - start});
  return {options_.batch_rows - batch_->rows - 1, text_.data + start + most,
          options_.max_record_bytes};
}

void Decoder::end_row(size_t start, size_t end, const std::string* key) {
  if (reader_->needs_rescue()) rescue_row(start, end, key);
  ++envelope_.rows;
  ++batch_->rows;
  batch_->bytes += static_cast<int64_t>(end - start);
  if (batch_->rows == options_.batch_rows || batch_->bytes >= options_.batch_bytes) end_batch();
}

void Decoder::rescue_row(size_t start, size_t end, const std::string* key) {
  Column& column = batch_->columns[rescued_column_];
  if (!options_.is_strict && put_notes(reader_->notes(), column, Row(batch_->rows))) {
    envelope_.rescued += static_cast<int64_t>(reader_->notes().notes.size());
    return;
  }
  std::vector<uint8_t> mended;
  Text record{text_.data + start, end - start};
  if (has_surrogate_escape(record.data, record.size)) {
    mended.assign(record.data, record.data + record.size);
    mend_surrogates(mended.data(), mended.size());
    record.data = mended.data();
  }
  const Rescues found = rescue(record, schema_->fields);
  if (!found.count) return;  // A later value of the same key did fit.
  if (options_.is_strict) {
    verdict_.value.assign(reinterpret_cast<const char*>(record.data + found.first_start),
                          found.first_end - found.first_start);
    throw Malformed{
        "", start + found.first_start, joined({row_step(key)}, found.first_path), Fault::Rescue};
  }
  envelope_.rescued += found.count;
  column.put_text(Row(batch_->rows), found.json.data(), found.json.size());
}

Step Decoder::row_step(const std::string* key) const {
  return key ? Step(*key) : Step(envelope_.rows);
}

// Where the value ends that began, with its key, at `since`.
size_t Decoder::checked_value_end(size_t start, const Step& step, size_t since) {
  try {
    const size_t end = value_end(text_, start, options_.max_depth - open_brackets_, at_end_);
    check_bytes(since, end - 1);
    return end;
  } catch (Malformed& malformed) {
    if (malformed.fault == Fault::TooLong) throw;
    malformed.path.insert(malformed.path.begin(), step);
    check_bytes(since, malformed.index);
    throw;
  } catch (Unfinished& stop) {
    stop.path.insert(stop.path.begin(), step);
    throw;
  }
}

// Waits for as many bytes again as there are of what began at `start`.
bool Decoder::unfinished(size_t start, Path path) {
  check_bytes(start, text_.size - 1);
  const size_t held = text_.size - start;
  wanted_ = std::min(held, static_cast<size_t>(options_.max_record_bytes) + 1 - held);
  if (!path.empty()) path_in_progress_ = std::move(path);
  index_ = start;
  return false;
}

void Decoder::check_bytes(size_t since, size_t last) const {
  const auto limit = static_cast<size_t>(options_.max_record_bytes);
  if (last - since >= limit) {
    throw Malformed{"expected at most " + std::to_string(options_.max_record_bytes) +
                        " bytes in one value (max_record_bytes)",
                    since + limit,
                    {},
                    Fault::TooLong};
  }
}

// What a sixteenth of the first batch needs shows what all of it will need: growing on by doubling would
// copy nearly all of it once more.
void Decoder::foresee_batch() {
  const double full = std::max(
      static_cast<double>(batch_->bytes) / static_cast<double>(options_.batch_bytes),
      static_cast<double>(batch_->rows) / static_cast<double>(options_.batch_rows));
  if (full < 1.0 / 16) return;
  is_foreseen_ = true;
  batch_->foresee(*batch_, 1 / full);
}

void Decoder::end_batch() {
  batch_->finish();
  auto next = std::make_unique<Batch>(schema_->fields);
  if (!at_end_) next->foresee(*batch_, 1);
  is_foreseen_ = true;
  full_.push_back(std::move(batch_));
  batch_ = std::move(next);
}

}  // namespace streamlic
