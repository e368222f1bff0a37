// libFuzzer's target for the compiled decoder: any bytes, with any options, cut anywhere.
//
// What must hold: no undefined behaviour and no leak (that is the sanitizers' to see), whole columns in
// every batch, and the same batches and the same verdict by every set of instructions and every cut.

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "core/arrow/arrow_export.h"
#include "core/body/decoder.h"

using namespace streamlic;

namespace {

Field field(std::string name, Kind kind, std::vector<Field> children = {}) {
  Field result;
  result.name = std::move(name);
  result.kind = kind;
  result.children = std::move(children);
  return result;
}

std::vector<Field> schema_of(unsigned number) {
  if (number % 4 == 1) return {field("key", Kind::String), field("record", Kind::Record)};
  const Field list_element =
      field("element", Kind::Struct,
            {field("id", Kind::String), field("n", Kind::Int64),
             field("l", Kind::List, {field("element", Kind::Struct, {field("b", Kind::Bool)})})});
  return {field("id", Kind::String),
          field("n", Kind::Int64),
          field("d", Kind::Double),
          field("b", Kind::Bool),
          field("t", Kind::Timestamp),
          field("s", Kind::Struct, {field("id", Kind::String), field("t", Kind::Timestamp)}),
          field("l", Kind::List, {list_element}),
          field("j", Kind::Json),
          field("q\"", Kind::String),
          field("_rescued", Kind::Rescued)};
}

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

void append(std::string& out, const void* bytes, size_t size) {
  out.append(static_cast<const char*>(bytes), size);
}

// Appends the values of a column as text that can be compared; looks at every byte that it promises.
void describe(const ColumnBuilder& column, int64_t rows, std::string& out) {
  if (column.null_count(rows) < 0 || column.null_count(rows) > rows) fail("a wrong count of nulls");
  const Kind kind = column.kind();
  const bool has_offsets = kind == Kind::String || kind >= Kind::List;
  for (int64_t row = 0; row < rows; ++row) {
    const bool is_valid = column.validity().data()[row >> 3] >> (row & 7) & 1;
    out += is_valid ? '+' : '-';
    if (has_offsets) {
      const int32_t* offsets = column.values().as<int32_t>() + row;
      if (offsets[0] > offsets[1] || (row == 0 && offsets[0] != 0)) fail("offsets that fall");
      if (!is_valid && offsets[0] != offsets[1]) fail("a null that takes room");
      const auto size = static_cast<size_t>(offsets[1] - offsets[0]);
      append(out, &size, sizeof size);
      if (kind != Kind::List && size) append(out, column.data().data() + offsets[0], size);
    } else if (is_valid && kind == Kind::Bool) {
      out += column.values().data()[row >> 3] >> (row & 7) & 1 ? '1' : '0';
    } else if (is_valid && kind != Kind::Struct) {
      append(out, column.values().as<int64_t>() + row, 8);
    }
  }
  if (kind == Kind::List && rows && column.values().as<int32_t>()[rows] != column.elements()) {
    fail("a list that ends elsewhere");
  }
  for (const ColumnBuilder& child : column.children()) {
    describe(child, kind == Kind::List ? column.elements() : rows, out);
  }
}

// Appends what was handed on to be judged.
void take_remarks(Decoder& decoder, std::string& out) {
  for (const Remark& remark : decoder.take_remarks()) {
    out += "remark" + std::to_string(static_cast<int>(remark.kind)) + remark.text + "@" +
           std::to_string(remark.position) + "," + std::to_string(remark.rows) + "," +
           std::to_string(remark.own_rows) + (remark.has_rows ? "+" : "-");
    for (const Step& step : remark.path) out += "/" + step.key + std::to_string(step.index);
  }
}

void take_batches(Decoder& decoder, const Options& options, std::string& out) {
  for (auto& batch : decoder.take_batches()) {
    if (batch->rows < 1 || batch->rows > options.batch_rows) fail("a batch of a wrong size");
    out += "batch";
    append(out, &batch->rows, sizeof batch->rows);
    for (const ColumnBuilder& column : batch->columns) describe(column, batch->rows, out);
    ArrowArray array;
    export_batch(std::move(batch), &array);
    release_array(&array);
  }
}

std::string decoded(const std::shared_ptr<const Schema>& schema, const Options& options,
                    InstructionSet instructions, const uint8_t* body, size_t size, size_t chunk) {
  Decoder decoder(schema, options, instructions);
  std::string out;
  std::string remarks;
  bool is_good = true;
  for (size_t at = 0; is_good && at < size; at += chunk) {
    const size_t bytes = size - at < chunk ? size - at : chunk;
    // A copy of its exact size, so that the sanitizer sees every read outside it.
    const std::vector<uint8_t> piece(body + at, body + at + bytes);
    is_good = decoder.feed(piece.data(), piece.size());
    take_remarks(decoder, remarks);
    if (is_good) take_batches(decoder, options, out);
  }
  is_good = is_good && decoder.close();
  take_remarks(decoder, remarks);
  if (is_good) {
    take_batches(decoder, options, out);
    const Envelope& envelope = decoder.envelope();
    append(out, &envelope.rows, sizeof envelope.rows);
    append(out, &envelope.rescued, sizeof envelope.rescued);
    return out + remarks;
  }
  const Verdict& verdict = decoder.verdict();
  if (verdict.code == ErrorCode::Contradiction) fail("a decoder that contradicts itself");
  if (verdict.position < 0 || verdict.position > static_cast<int64_t>(size))
    fail("a place outside");
  out = "verdict " + std::to_string(static_cast<int>(verdict.code)) + verdict.argument + "@" +
        std::to_string(verdict.position);
  for (const Step& step : verdict.path) out += "/" + step.key + std::to_string(step.index);
  return out + remarks;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kHead = 6;
  if (size < kHead) return 0;
  Options options;
  options.is_lines = data[0] & 4;
  options.is_strict = data[0] & 8;
  if (data[0] & 16) options.rows_path = {"a", "b"};
  options.takes_keyed = data[0] & 32;
  if (options.takes_keyed && data[0] & 64) options.key_by = data[0] & 128 ? "id" : "n";
  options.has_envelope_lines = options.is_lines && !(data[0] & 16);
  options.has_reports = true;
  if (data[1] & 1) options.batch_rows = 1 + data[1] / 16;
  if (data[1] & 2) options.batch_bytes = 1 + data[1];
  if (data[2]) options.max_record_bytes = 2 + data[2];
  if (data[3]) options.max_depth = 1 + data[3] % 12;
  const auto schema = std::make_shared<const Schema>(schema_of(data[0]));
  const size_t chunk = 1 + data[4] + (data[5] & 1) * 4096;
  std::vector<uint8_t> given(data + kHead, data + size);
  if (data[5] & 2)
    given.insert(given.end(), 200, ' ');  // Short cuts are taken where enough follows.
  const uint8_t* const body = given.data();
  const size_t body_size = given.size();

  const std::string whole =
      decoded(schema, options, InstructionSet::Scalar, body, body_size, body_size ? body_size : 1);
  for (const InstructionSet instructions :
       {InstructionSet::Scalar, InstructionSet::Sse2, InstructionSet::Avx2, InstructionSet::Neon}) {
    if (decoded(schema, options, instructions, body, body_size, chunk) != whole)
      fail("a cut that matters");
    if (decoded(schema, options, instructions, body, body_size, body_size + 1) != whole) {
      fail("instructions that matter");
    }
  }
  return 0;
}
