// How to read a body.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace streamlic {

struct Options {
  std::vector<std::string> rows_path = {"result"};
  bool is_lines = false;
  bool is_strict = false;
  std::optional<std::string> key_by;  // the field that takes the keys of rows given as an object
  bool takes_keyed = false;           // whether the rows may be an object
  bool has_envelope_lines = false;    // whether a line may be an envelope
  bool has_reports = false;           // whether a record may be an error report
  int64_t batch_rows = 8192;
  int64_t batch_bytes = 2 << 20;
  int64_t max_record_bytes = 64 << 20;
  int max_depth = 128;
  int64_t max_rescued = 10'000;
};

}  // namespace streamlic
