// What did not fit: found again in the record's own text, so that not a digit of it is lost.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/arrow/columns.h"
#include "core/reader/record_reader.h"
#include "core/json/scanner.h"

namespace streamlic {

struct Rescues {
  std::string json;  // an object from JSON Pointer (RFC 6901) to value, in document order
  int64_t count = 0;
  bool is_whole = false;  // The record itself is all that is rescued, and `json` is left out.
  Path first_path;        // to the first of them, and where it lies in the record
  size_t first_start = 0;
  size_t first_end = 0;
};

// Writes the same JSON from misfits that are sure, straight into `column`; false if they may repeat a
// path, are too many to be compared, or may need more room than there is.
bool put_misfits(const Misfits& misfits, ColumnBuilder& column, const Row& row);

// The record is valid, and its unpaired surrogates are mended. Of a repeated key the last counts. Where
// more than `most` values do not fit, the whole record counts as the only one.
Rescues rescue(Text record, const std::vector<Field>& schema, int64_t most);

// Writes the record under the pointer "" straight into `column`.
void put_whole(Text record, ColumnBuilder& column, const Row& row);

}  // namespace streamlic
