#include "rows.h"

#include <algorithm>

#include "rescue.h"
#include "text.h"

namespace streamlic {

namespace {

// More of a value than any message shows of it.
constexpr size_t kShownBytes = 1024;

}  // namespace

Rows::Rows(const Schema& schema, const Options& options, Simd simd, Window& window,
           Envelope& envelope)
    : fields_(schema.fields),
      options_(options),
      window_(window),
      envelope_(envelope),
      reader_(make_record_reader(simd, schema)),
      batch_(std::make_unique<Batch>(fields_)) {
  for (size_t i = 0; i < fields_.size(); ++i) {
    if (fields_[i].kind == Kind::Rescued) rescued_column_ = i;
  }
}

void Rows::moved() {
  reader_->forget();
  if (!is_foreseen_) foresee_batch();
}

bool Rows::read(size_t start, const std::string* key, int depth) {
  const Text text = window_.text;
  const uint8_t* const first = text.data + start;
  const uint8_t* behind = nullptr;
  bool is_full = false;
  try {
    behind = reader_->read(first, text.data + text.size, batch_->columns, batch_->rows, depth,
                           key || options_.is_lines ? Room{} : room(start));
  } catch (const CapacityExceeded&) {
    is_full = true;
  }
  if (reader_->plain_rows()) {
    const int64_t rows = reader_->plain_rows();
    envelope_.rows += rows;
    batch_->rows += rows;
    batch_->bytes += reader_->begin() - first - rows;  // without their commas
    window_.index = start = static_cast<size_t>(reader_->begin() - text.data);
  }
  if (behind) {
    const size_t end = static_cast<size_t>(behind - text.data);
    if (end - window_.index <= window_.max_bytes) {
      end_row(start, end, key);
      window_.index = end;
      return true;
    }
  }
  batch_->rollback();
  if (!behind && !is_full && reader_->stop() == Stop::AtEnd && !window_.is_last) return false;
  const size_t end = window_.value_end(start, depth, step(key));
  if (is_full) throw CapacityExceeded();  // Nothing else is wrong with it.
  read_last_number(start, end, key);
  window_.index = end;
  return true;
}

// How many rows may follow each other from `start` on, so that the batch is not full before the last,
// and none of them leaves what is to be read here.
Room Rows::room(size_t start) const {
  const auto left = static_cast<size_t>(options_.batch_bytes - batch_->bytes);
  const size_t most = std::min({left, window_.text.size - start, window_.leave_at - start});
  return {options_.batch_rows - batch_->rows - 1, window_.text.data + start + most,
          options_.max_record_bytes};
}

// Reads a row that was refused and is valid after all: a number that the end of the body ends.
void Rows::read_last_number(size_t start, size_t end, const std::string* key) {
  std::vector<uint8_t> scalar(window_.text.data + start, window_.text.data + end);
  scalar.push_back(' ');
  reader_->forget();
  if (!reader_->read(scalar.data(), scalar.data() + scalar.size(), batch_->columns, batch_->rows, 0,
                     {})) {
    throw Malformed{"expected what this decoder takes for JSON: please report this body", start, {}};
  }
  reader_->forget();
  end_row(start, end, key);  // The notes lead to this copy of it.
}

void Rows::end_row(size_t start, size_t end, const std::string* key) {
  if (reader_->needs_rescue()) rescue_row(start, end, key);
  ++envelope_.rows;
  ++batch_->rows;
  batch_->bytes += static_cast<int64_t>(end - start);
  if (batch_->rows == options_.batch_rows || batch_->bytes >= options_.batch_bytes) end_batch();
}

void Rows::rescue_row(size_t start, size_t end, const std::string* key) {
  Column& column = batch_->columns[rescued_column_];
  const bool may_be_noted = !options_.is_strict && static_cast<int64_t>(reader_->notes().notes.size()) <=
                                                       options_.max_rescued;
  if (may_be_noted && put_notes(reader_->notes(), column, Row(batch_->rows))) {
    envelope_.rescued += static_cast<int64_t>(reader_->notes().notes.size());
    return;
  }
  std::vector<uint8_t> mended;
  Text record{window_.text.data + start, end - start};
  if (has_surrogate_escape(record.data, record.size)) {
    mended.assign(record.data, record.data + record.size);
    mend_surrogates(mended.data(), mended.size());
    record.data = mended.data();
  }
  const Rescues found = rescue(record, fields_, options_.max_rescued);
  if (!found.count) return;  // A later value of the same key did fit.
  if (options_.is_strict) {
    throw Malformed{"", start + found.first_start, joined({step(key)}, found.first_path),
                    Fault::Rescue,
                    std::string(reinterpret_cast<const char*>(record.data + found.first_start),
                                std::min(found.first_end - found.first_start, kShownBytes))};
  }
  envelope_.rescued += found.count;
  if (found.is_whole) {
    put_whole(record, column, Row(batch_->rows));
  } else {
    column.put_text(Row(batch_->rows), found.json.data(), found.json.size());
  }
}

// The step from the rows to the one that is read.
Step Rows::step(const std::string* key) const { return key ? Step(*key) : Step(envelope_.rows); }

void Rows::end() {
  if (!batch_->rows) return;
  end_batch();
  full_.back()->trim();  // A batch of few rows has room for many, and may be kept for long.
}

void Rows::end_batch() {
  batch_->finish();
  auto next = std::make_unique<Batch>(fields_);
  if (!window_.at_end) next->foresee(*batch_, 1);
  is_foreseen_ = true;
  full_.push_back(std::move(batch_));
  batch_ = std::move(next);
}

// What a sixteenth of the first batch needs shows what all of it will need: growing on by doubling would
// copy nearly all of it once more.
void Rows::foresee_batch() {
  const double full = std::max(
      static_cast<double>(batch_->bytes) / static_cast<double>(options_.batch_bytes),
      static_cast<double>(batch_->rows) / static_cast<double>(options_.batch_rows));
  if (full < 1.0 / 16) return;
  is_foreseen_ = true;
  batch_->foresee(*batch_, 1 / full);
}

}  // namespace streamlic
