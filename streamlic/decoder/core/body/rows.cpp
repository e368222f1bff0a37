#include "core/body/rows.h"

#include <algorithm>

#include "core/body/rescue.h"
#include "core/json/text.h"

namespace streamlic {

namespace {

// More of a value than any message shows.
constexpr size_t kShownBytes = 1024;

std::string quoted(const std::string& text) {
  std::string json = "\"";
  append_escaped(json, text);
  return json + '"';
}

// A key as a JSON Pointer (RFC 6901).
std::string pointer_step(const std::string& key) {
  std::string pointer = "/";
  for (const char c : key) pointer += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  return pointer;
}

// Adds a row's key in front of the row's other rescued values.
void add_key(Rescues& found, Text record, const std::string& field, const std::string& key) {
  if (found.is_whole) {
    found.is_whole = false;
    found.json = "{\"\":";
    found.json.append(reinterpret_cast<const char*>(record.data), record.size);
    found.json += '}';
  }
  const std::string member = quoted(pointer_step(field)) + ":" + quoted(key);
  found.json.insert(1, found.count ? member + ',' : member);
  ++found.count;
}

}  // namespace

Rows::Rows(const Schema& schema, const Options& options, InstructionSet instructions,
           Window& window, Envelope& envelope)
    : fields_(schema.fields),
      options_(options),
      window_(window),
      envelope_(envelope),
      reader_(make_record_reader(instructions, schema)),
      is_whole_record_(std::any_of(fields_.begin(), fields_.end(),
                                   [](const Field& one) { return one.kind == Kind::Record; })),
      marks_(is_whole_record_),
      batch_(std::make_unique<Batch>(fields_)) {
  for (size_t i = 0; i < fields_.size(); ++i) {
    const Kind kind = fields_[i].kind;
    if (kind == Kind::Rescued) rescued_column_ = i;
    if (kind != Kind::Rescued && fields_[i].name == "id") id_column_ = i;
  }
  for (size_t i = 0; i < fields_.size(); ++i) {
    const bool is_key = is_whole_record_ || fields_[i].name == options_.key_by;
    if (is_key && fields_[i].kind == Kind::String) key_column_ = i;
  }
  if (options_.key_by) {
    keyed_fields_ = fields_;
    Field any;
    any.name = *options_.key_by;
    any.kind = Kind::Json;
    keyed_fields_.push_back(std::move(any));
  }
}

void Rows::moved() {
  reader_->forget();
  marks_.forget();
  if (!is_reserved_) reserve_batch();
}

std::optional<Path> Rows::read(size_t start, const std::string* key, int depth, bool is_in_array) {
  const Text text = window_.text;
  const uint8_t* const first = text.data + start;
  const RecordsRead read =
      reader_->read(first, text.data + text.size, batch_->columns, batch_->rows, depth,
                    is_in_array ? budget(start) : RowBudget{});
  if (read.plain_rows) {
    envelope_.rows += read.plain_rows;
    batch_->rows += read.plain_rows;
    batch_->bytes += read.begin - first - read.plain_rows;  // without the commas between them
    window_.index = start = static_cast<size_t>(read.begin - text.data);
  }
  if (read.end) {
    const size_t end = static_cast<size_t>(read.end - text.data);
    if (end - window_.index <= window_.max_bytes) {
      const bool may_be_envelope = options_.has_envelope_lines && !key && !is_in_array;
      if (may_be_envelope && needs_rescue() && text[start] == '{' &&
          is_envelope({first, end - start})) {
        batch_->rollback();
        return std::nullopt;
      }
      end_row(start, end, key);
      window_.index = end;
      return std::nullopt;
    }
  }
  batch_->rollback();
  if (read.stop == Stop::AtEnd && !read.end && !window_.is_last) return Path();
  Scan scan = window_.scan_value(start, depth, step(key));
  if (scan.is_partial()) return std::move(scan.path);
  if (read.stop == Stop::NoRoom) throw CapacityExceeded();  // The row itself is valid.
  read_last_number(start, scan.end, key);
  window_.index = scan.end;
  return std::nullopt;
}

Scan Rows::scan_value(size_t start, int depth, const Step& step) {
  const Text text = window_.text;
  const ValueSkipped skipped = reader_->skip(text.data + start, text.data + text.size, depth);
  if (skipped.end) {
    const size_t end = static_cast<size_t>(skipped.end - text.data);
    window_.check_bytes(end - 1);
    return {end};
  }
  if (skipped.stop == Stop::AtEnd && !window_.is_last) return {kPartial};
  return window_.scan_value(start, depth, step);
}

// How many rows one call may read from `start` on: the batch must not be full before the last, and no row
// may begin at `leave_at` or later.
RowBudget Rows::budget(size_t start) const {
  const auto left = static_cast<size_t>(options_.batch_bytes - batch_->bytes);
  const size_t most = std::min({left, window_.text.size - start, window_.leave_at - start});
  return {options_.batch_rows - batch_->rows - 1, window_.text.data + start + most,
          options_.max_record_bytes};
}

// Reads a row that was refused but is valid: a number at the end of the body.
void Rows::read_last_number(size_t start, size_t end, const std::string* key) {
  std::vector<uint8_t> scalar(window_.text.data + start, window_.text.data + end);
  scalar.push_back(' ');
  reader_->forget();
  const RecordsRead read = reader_->read(scalar.data(), scalar.data() + scalar.size(),
                                         batch_->columns, batch_->rows, 0, {});
  if (read.stop == Stop::NoRoom) throw CapacityExceeded();
  if (!read.end) {
    throw Malformed{ErrorCode::Contradiction, start, {}};
  }
  reader_->forget();
  end_row(start, end, key);  // The misfits point into `scalar`.
}

void Rows::end_row(size_t start, size_t end, const std::string* key) {
  const bool has_misfits = needs_rescue();
  if (options_.has_reports && (is_whole_record_ || has_misfits)) note_report(start, end, key);
  const bool has_place = is_whole_record_ ? key_column_ != kNone : options_.key_by.has_value();
  bool rescues_key = false;
  if (key && has_place && (is_whole_record_ || is_keyless(start, end))) {
    if (key_column_ != kNone) {
      batch_->columns[key_column_].put_text(Row(batch_->rows), key->data(), key->size());
    } else {
      rescues_key = window_.text[start] == '{';
    }
  }
  if (has_misfits || rescues_key) rescue_row(start, end, key, rescues_key);
  ++envelope_.rows;
  ++batch_->rows;
  batch_->bytes += static_cast<int64_t>(end - start);
  if (batch_->rows == options_.batch_rows || batch_->bytes >= options_.batch_bytes) end_batch();
}

// Adds a remark about a row that may be an error report: it has no id, and has a report's members.
void Rows::note_report(size_t start, size_t end, const std::string* key) {
  const Text text = window_.text;
  const uint8_t* const first = text.data + start;
  if (id_column_ != kNone && batch_->columns[id_column_].is_valid(Row(batch_->rows))) return;
  if (*first != '{' || !marks_.are_in(first, text.data + end, text.data + text.size)) return;
  const Report report = report_in({first, end - start}, fields_);
  if (!report.may_be()) return;
  Remark said{Remark::Kind::Record,
              {step(key)},
              report.json(),
              window_.position + static_cast<int64_t>(start)};
  said.is_data = report.is_data();
  envelope_.remarks.push_back(std::move(said));
}

// Whether the row lacks the field that takes its key.
bool Rows::is_keyless(size_t start, size_t end) const {
  const Text record{window_.text.data + start, end - start};
  if (record[0] != '{') return true;
  if (key_column_ != kNone) {
    if (batch_->columns[key_column_].is_valid(Row(batch_->rows))) return false;
    if (!needs_rescue()) return true;
  }
  return lacks_member(record, *options_.key_by);
}

void Rows::rescue_row(size_t start, size_t end, const std::string* key, bool rescues_key) {
  ColumnBuilder& column = batch_->columns[rescued_column_];
  const bool is_member = key && options_.key_by && window_.text[start] != '{';
  const bool is_strict = options_.is_strict && !has_held_misfit_;
  if (rescues_key && is_strict) {
    throw Malformed{ErrorCode::RowKey, start, {step(key)}, *options_.key_by};
  }
  const bool is_few = static_cast<int64_t>(reader_->misfits().list.size()) <= options_.max_rescued;
  const bool may_be_put = is_few && !is_strict && !rescues_key && !is_member;
  if (may_be_put && put_misfits(reader_->misfits(), column, Row(batch_->rows))) {
    envelope_.rescued += static_cast<int64_t>(reader_->misfits().list.size());
    return;
  }
  std::vector<uint8_t> mended;
  Text record{window_.text.data + start, end - start};
  if (has_surrogate_escape(record.data, record.size)) {
    mended.assign(record.data, record.data + record.size);
    mend_surrogates(mended.data(), mended.size());
    record.data = mended.data();
  }
  if (is_member && !is_strict) return rescue_member(record, *key);
  Rescues found = rescue(record, rescues_key ? keyed_fields_ : fields_, options_.max_rescued);
  if (rescues_key) add_key(found, record, *options_.key_by, *key);
  if (!found.count) return;  // A later value of a repeated key fits.
  if (is_strict) {
    Malformed misfit{ErrorCode::Misfit, start + found.first_start,
                     joined({step(key)}, found.first_path),
                     std::string(reinterpret_cast<const char*>(record.data + found.first_start),
                                 std::min(found.first_end - found.first_start, kShownBytes))};
    if (!is_member || !options_.has_reports) throw misfit;
    misfit_ = std::move(misfit);
    has_held_misfit_ = true;
    return rescue_member(record, *key);
  }
  envelope_.rescued += found.count;
  if (found.is_whole) {
    put_whole(record, column, Row(batch_->rows));
  } else {
    column.put_text(Row(batch_->rows), found.json.data(), found.json.size());
  }
}

// Rescues, under its key, a row that is not an object.
void Rows::rescue_member(Text value, const std::string& key) {
  std::string json = "{" + quoted(pointer_step(key)) + ":";
  json.append(reinterpret_cast<const char*>(value.data), value.size);
  json += '}';
  ++envelope_.rescued;
  batch_->columns[rescued_column_].put_text(Row(batch_->rows), json.data(), json.size());
}

// The step from the rows to the current one.
Step Rows::step(const std::string* key) const { return key ? Step(*key) : Step(envelope_.rows); }

void Rows::end() {
  if (!batch_->rows) return;
  end_batch();
  full_.back()->trim();  // It may have few rows but room for many, and may be kept for long.
}

void Rows::end_batch() {
  batch_->finish();
  auto next = std::make_unique<Batch>(fields_);
  if (!window_.at_end) next->reserve_like(*batch_, 1);
  is_reserved_ = true;
  full_.push_back(std::move(batch_));
  batch_ = std::move(next);
}

// Once the first batch is one sixteenth full, its size predicts what all of it needs. Growing by doubling
// would copy nearly all of it once more.
void Rows::reserve_batch() {
  const double full =
      std::max(static_cast<double>(batch_->bytes) / static_cast<double>(options_.batch_bytes),
               static_cast<double>(batch_->rows) / static_cast<double>(options_.batch_rows));
  if (full < 1.0 / 16) return;
  is_reserved_ = true;
  batch_->reserve_like(*batch_, 1 / full);
}

}  // namespace streamlic
