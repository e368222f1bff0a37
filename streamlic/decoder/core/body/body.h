// A state machine for the structure of a body: the envelope, the path to the rows, and the rows.
#pragma once

#include <cstdint>
#include <memory>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/body/envelope.h"
#include "core/body/options.h"
#include "core/body/rows.h"
#include "core/body/signs.h"
#include "core/json/scanner.h"
#include "core/body/window.h"

namespace streamlic {

// The first error of the body, and where it is.
struct Verdict {
  ErrorCode code = ErrorCode::None;
  std::string argument;
  int64_t position = 0;
  Path path;
  std::string quoted = {};  // the text up to and including the wrong byte
};

class Body {
 public:
  // Reads from the window. All arguments must outlive the body.
  Body(const Schema& schema, const Options& options, InstructionSet instructions, Window& window);

  // Reads until the index reaches the window's `leave_at`, or more bytes are needed. Throws Malformed.
  void read();

  // Completes the last batch; returns false if the body is not complete.
  bool end();

  const Envelope& envelope() const { return envelope_; }
  std::vector<std::unique_ptr<Batch>> take_batches() { return rows_.take_batches(); }
  std::vector<Remark> take_remarks() { return std::exchange(envelope_.remarks, {}); }

  // In strict mode, a misfit that comes before any later error but a report, nullptr if there is none.
  const Verdict* held_misfit() const { return held_misfit_ ? &*held_misfit_ : nullptr; }

  // The paths to the innermost open bracket, and to where reading stopped.
  const Path& path() const { return path_; }
  Path path_to_here() const { return joined(path_, path_in_progress_); }

 private:
  using StepFunction = bool (Body::*)();

  // The states. Each returns whether it made progress. If not, it needs more bytes, and the index is at the
  // first byte that it needs again.
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

  void open_bracket();
  bool close_bracket();
  void begin_envelope();
  void open_envelope();
  bool end_envelope();
  void open_rows();
  bool end_rows();
  bool separator(uint8_t closer, StepFunction at_closer, StepFunction at_comma);
  struct MemberKey {
    std::string text;
    size_t value = kPartial;  // where the value begins
    Path path = {};           // of a partial key: to where the bytes end

    bool is_partial() const { return value == kPartial; }
  };
  MemberKey key() const;
  bool leads_to_rows(const MemberKey& key);
  void check_rows(const MemberKey& key) const;
  void hold_misfit();
  void note_member(const MemberKey& key, size_t end);
  void remark(Remark::Kind kind, size_t index, Path path = {}, std::string text = {});
  bool may_begin_with_rows(size_t start) const;
  enum class Follow : uint8_t { No, Yes, Unknown };
  Follow follow(size_t index, std::initializer_list<std::string_view> tokens) const;
  bool wait(Path path);
  int depth() const { return options_.max_depth - open_brackets_; }

  const Options& options_;
  Window& window_;
  Envelope envelope_;
  Rows rows_;
  StepFunction step_;
  int open_brackets_ = 0;
  Path path_;
  Path path_in_progress_;
  bool has_rows_ = false;
  bool is_first_line_ = true;
  int64_t rows_before_ = 0;  // rows before this envelope: only lines have any
  uint8_t rows_closer_ = 0;
  const std::vector<Field>& fields_;
  std::optional<Verdict> held_misfit_;
  std::optional<Report> report_;  // the error report that rows given as an object may be
};

}  // namespace streamlic
