// Bytes of one body in, batches of columns out.
//
// Rules:
// 1. Where the body is cut into chunks changes neither the batches nor the verdict.
// 2. The verdict is about the first error in the body. After one the decoder is spent.
// 3. Held are the batch in the making and one unfinished record or other member, which is bounded by
//    `max_record_bytes` and read again only when it has doubled: time stays linear. A chunk is read
//    where it lies; copied are what is unfinished at its end, and what completes that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "columns.h"
#include "envelope.h"
#include "record_reader.h"
#include "strict.h"
#include "utf8.h"

namespace streamlic {

struct Options {
  std::vector<std::string> rows_path = {"result"};
  bool is_lines = false;
  bool is_strict = false;
  int64_t batch_rows = 8192;
  int64_t batch_bytes = 2 << 20;
  int64_t max_record_bytes = 64 << 20;
  int max_depth = 128;
};

// What is wrong with the body, and where.
struct Verdict {
  Fault fault = Fault::None;
  std::string reason;
  int64_t position = 0;
  Path path;
  std::string value;  // with Fault::Rescue: the text of the value that did not fit
};

class Decoder {
 public:
  Decoder(std::shared_ptr<const Schema> schema, Options options, Simd simd);

  // Each returns whether all is well; if not, `verdict` says what is wrong.
  bool feed(const uint8_t* chunk, size_t size);
  bool close();

  const Verdict& verdict() const { return verdict_; }
  const Envelope& envelope() const { return envelope_; }
  std::vector<std::unique_ptr<Batch>> take_batches() { return std::exchange(full_, {}); }

 private:
  using StepFunction = bool (Decoder::*)();

  void take_ill_formed(const uint8_t* chunk, int64_t offset);
  void take_begun();
  Path path_to_here() const;
  void take(const uint8_t* chunk, size_t size);
  void finish_held(const uint8_t** chunk, size_t* size);
  void advance(const uint8_t* data, size_t size, size_t leave_at);
  void keep_rest();
  template <class Work>
  bool guarded(Work work);
  void set_verdict(const Malformed& malformed);

  // Each returns whether it made progress. One that did not needs more of the body, and has left the
  // index at the first byte that it needs again.
  bool top();
  bool first_member();
  bool member();
  bool after_member();
  bool first_row();
  bool row();
  bool after_row();
  bool line();
  bool after_line();
  bool after_body();

  bool has_byte();
  bool may_be_byte_order_mark();
  void open_bracket();
  bool close_bracket();
  void open_envelope();
  bool end_envelope();
  void open_rows();
  bool separator(uint8_t closer, StepFunction at_closer, StepFunction at_comma);
  struct MemberKey {
    std::string text;
    size_t value;
  };
  MemberKey key(size_t since);
  bool leads_to_rows(const MemberKey& key);
  bool read_row(size_t start, const std::string* key, size_t since);
  Room room(size_t start) const;
  void end_row(size_t start, size_t end, const std::string* key);
  void rescue_row(size_t start, size_t end, const std::string* key);
  Step row_step(const std::string* key) const;
  size_t checked_value_end(size_t start, const Step& step, size_t since);
  bool unfinished(size_t start, Path path);
  void check_bytes(size_t since, size_t last) const;
  void end_batch();
  void foresee_batch();

  const std::shared_ptr<const Schema> schema_;
  const Options options_;
  const bool is_trutos_;
  size_t rescued_column_ = SIZE_MAX;
  std::unique_ptr<RecordReader> reader_;
  Utf8Check utf8_;
  std::unique_ptr<Batch> batch_;
  bool is_foreseen_ = false;  // how much room the batch will need
  std::vector<std::unique_ptr<Batch>> full_;
  Envelope envelope_;
  Verdict verdict_;

  std::vector<uint8_t> held_;  // the unfinished end of what was fed
  std::vector<uint8_t> begun_;  // a character's first bytes
  size_t waiting_ = 0;         // bytes of it that were not looked at yet
  size_t wanted_ = 0;          // as many are worth waiting for
  Text text_{nullptr, 0};      // what is being read: the held bytes, or a chunk
  size_t index_ = 0;
  size_t leave_at_ = SIZE_MAX;
  int64_t position_ = 0;  // of the text's first byte in the body
  int64_t fed_ = 0;
  bool at_end_ = false;
  bool is_last_ = false;  // Nothing follows the text that is worth waiting for.

  StepFunction step_;
  int open_brackets_ = 0;
  Path path_;  // to the innermost of them
  Path path_in_progress_;
  bool is_enveloped_ = false;
  bool has_rows_ = false;
  uint8_t rows_closer_ = 0;
};

}  // namespace streamlic
