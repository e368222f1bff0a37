// What a body says of itself beside its rows. What it means is not judged here: remarks are handed on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/json/scanner.h"

namespace streamlic {

// Something to be judged by who reads the body, in document order.
struct Remark {
  enum class Kind : uint8_t {
    Begin,   // an envelope begins
    Key,     // a key at its top, that leads to the rows
    Member,  // any other member of it, or of what is on the way to the rows
    End,     // it ends
    Record,  // a row that may be an error report
    Rows,    // rows that are an object, and may be one
  };
  Kind kind;
  Path path;              // to the member, or from the rows to the row
  std::string text;       // its JSON, shortened where it is long
  int64_t position;       // in the body
  int64_t rows = 0;       // with End: all so far
  int64_t own_rows = 0;   // with End: those of this envelope
  bool has_rows = false;  // with End: whether it has a place for any
  bool is_data = false;   // with Record and Rows: whether it has a value for a column
};

struct Envelope {
  bool is_keyed = false;
  int64_t rows = 0;
  int64_t rescued = 0;
  std::vector<Remark> remarks;
};

}  // namespace streamlic
