// What a body says of itself beside its rows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "strict.h"

namespace streamlic {

struct Envelope {
  std::optional<std::string> next_cursor;
  std::optional<std::string> prev_cursor;
  std::optional<std::string> next_link;  // a member by which a vendor's own body names a further page
  std::optional<int64_t> result_count;
  bool is_partial_response = false;
  bool is_keyed = false;
  int64_t rows = 0;
  int64_t rescued = 0;
  std::vector<std::string> keys;  // the first ones

  void note_key(const std::string& key);

  // Takes the member `key` whose valid JSON is `value`; of a repeated key the last counts. Throws
  // Malformed, at `index`, for a value of the wrong type, unless the envelope is a vendor's own.
  void note(const std::string& key, Text value, size_t index, bool is_trutos);
};

}  // namespace streamlic
