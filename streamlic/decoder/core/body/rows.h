// Reads the rows of one body into batches.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/arrow/columns.h"
#include "core/body/envelope.h"
#include "core/body/options.h"
#include "core/reader/record_reader.h"
#include "core/body/signs.h"
#include "core/body/window.h"

namespace streamlic {

class Rows {
 public:
  // Reads from the window, counts in the envelope. All arguments must outlive the rows.
  Rows(const Schema& schema, const Options& options, InstructionSet instructions, Window& window,
       Envelope& envelope);

  // Call it after the window has moved.
  void moved();

  // Reads the row that begins at `start`, and in an array the rows that follow it without white space, and
  // moves the window's index past the last one. `depth` brackets may be open within a row. If more bytes
  // are needed, it returns the path to where the bytes end, and the index is where the row begins, or its
  // key. If a line is an envelope, it does not move the index.
  std::optional<Path> read(size_t start, const std::string* key, int depth, bool is_in_array);

  // Scans a value other than a row, as the window does, but fast if it is valid. It gives no path to where the
  // bytes end if more bytes are to come.
  Scan scan_value(size_t start, int depth, const Step& step);

  // In strict mode, the first misfit if it may belong to an error report in place of keyed rows. It is not
  // thrown, because the rest of the report may follow; nor are later misfits. Returns it once.
  std::optional<Malformed> take_misfit() { return std::exchange(misfit_, std::nullopt); }

  // Completes the last batch, if it has rows.
  void end();

  std::vector<std::unique_ptr<Batch>> take_batches() { return std::exchange(full_, {}); }

 private:
  RowBudget budget(size_t start) const;
  bool needs_rescue() const { return !reader_->misfits().list.empty(); }
  void read_last_number(size_t start, size_t end, const std::string* key);
  void end_row(size_t start, size_t end, const std::string* key);
  void note_report(size_t start, size_t end, const std::string* key);
  bool is_keyless(size_t start, size_t end) const;
  void rescue_row(size_t start, size_t end, const std::string* key, bool rescues_key);
  void rescue_member(Text value, const std::string& key);
  Step step(const std::string* key) const;
  void end_batch();
  void reserve_batch();

  const std::vector<Field>& fields_;
  const Options& options_;
  Window& window_;
  Envelope& envelope_;
  const std::unique_ptr<RecordReader> reader_;
  static constexpr size_t kNone = SIZE_MAX;
  size_t rescued_column_ = kNone;
  size_t id_column_ = kNone;
  size_t key_column_ = kNone;  // a string column that takes the keys of rows given as an object
  const bool is_whole_record_;
  ReportMarks marks_;
  std::vector<Field> keyed_fields_;  // the schema for rows whose key is rescued
  std::unique_ptr<Batch> batch_;
  std::optional<Malformed> misfit_;
  bool has_held_misfit_ = false;
  bool is_reserved_ = false;  // whether the expected size of a batch is reserved
  std::vector<std::unique_ptr<Batch>> full_;
};

}  // namespace streamlic
