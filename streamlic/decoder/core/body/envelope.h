// What a body contains besides its rows. The core does not judge it: it passes remarks to its caller.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/json/scanner.h"

namespace streamlic {

// A part of the body for the caller to judge. Remarks come in document order.
struct Remark {
  enum class Kind : uint8_t {
    Begin,   // an envelope begins
    Key,     // a key of the envelope that leads to the rows
    Member,  // any other member of the envelope, or of an object on the path to the rows
    End,     // an envelope ends
    Record,  // a row that may be an error report
    Rows,    // rows given as an object, which may be an error report
  };
  Kind kind;
  Path path;              // to the member, or from the rows to the row
  std::string text;       // its JSON, shortened if it is long
  int64_t position;       // in the body
  int64_t rows = 0;       // with End: the rows of the body so far
  int64_t own_rows = 0;   // with End: the rows of this envelope
  bool has_rows = false;  // with End: whether the member for the rows exists
  bool is_data = false;   // with Record and Rows: whether it has a value for a column
};

struct Envelope {
  bool is_keyed = false;
  int64_t rows = 0;
  int64_t rescued = 0;
  std::vector<Remark> remarks;
};

}  // namespace streamlic
