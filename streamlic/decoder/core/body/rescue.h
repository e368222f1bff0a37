// Rescues the values that did not fit: copies their text from the record, so that no digit is lost.
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
  bool is_whole = false;  // The whole record is rescued as one value, and `json` is not set.
  Path first_path;        // to the first value, and where it is in the record
  size_t first_start = 0;
  size_t first_end = 0;
};

// Writes the same JSON from misfits that are sure, straight into `column`. Returns false if they may repeat
// a path, are too many to compare, or may not fit the column.
bool put_misfits(const Misfits& misfits, ColumnBuilder& column, const Row& row);

// Finds the values that do not fit. The record must be valid, with its unpaired surrogates mended. The last
// of repeated keys counts. If more than `most` values do not fit, the whole record is rescued as one.
Rescues rescue(Text record, const std::vector<Field>& schema, int64_t most);

// Writes the record under the pointer "" straight into `column`.
void put_whole(Text record, ColumnBuilder& column, const Row& row);

}  // namespace streamlic
