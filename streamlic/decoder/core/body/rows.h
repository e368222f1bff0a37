// The rows of one body, read into batches.
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
  // Reads from the window, counts in the envelope; all of these outlive it.
  Rows(const Schema& schema, const Options& options, InstructionSet instructions, Window& window,
       Envelope& envelope);

  // Says that the window lies elsewhere.
  void moved();

  // Reads the row that begins at `start`, and in an array those that follow it without a space, and
  // moves the window's index past the last. `depth` brackets may be open within a row. Where more
  // is needed it returns the path to where the row breaks off, and the index is where the row begins, or
  // its key. Leaves the index where a line is an envelope.
  std::optional<Path> read(size_t start, const std::string* key, int depth, bool is_in_array);

  // Makes a batch of what no batch was made of.
  void end();

  std::vector<std::unique_ptr<Batch>> take_batches() { return std::exchange(full_, {}); }

 private:
  RowBudget budget(size_t start) const;
  bool needs_rescue() const { return !reader_->misfits().list.empty(); }
  void read_last_number(size_t start, size_t end, const std::string* key);
  void end_row(size_t start, size_t end, const std::string* key);
  void note_report(size_t start, size_t end, const std::string* key);
  bool is_keyless(size_t start, size_t end) const;
  void rescue_row(size_t start, size_t end, const std::string* key, bool is_key_beside);
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
  size_t key_column_ = kNone;  // of strings, which takes the keys of rows that are an object
  const bool is_whole_record_;
  ReportMarks marks_;
  std::vector<Field> keyed_fields_;  // the schema as it is where a key is rescued instead of a null
  std::unique_ptr<Batch> batch_;
  bool is_reserved_ = false;  // the room that the batch is expected to need
  std::vector<std::unique_ptr<Batch>> full_;
};

}  // namespace streamlic
