// What a batch has no room for, with room for 4,032 bytes of text: each line of `main` is a body, the
// verdict and its position, and the rows before; prints what comes out otherwise in chunks of any size.

#include <algorithm>
#include <cstdio>

#include "core/body/decoder.h"

using namespace streamlic;

namespace {

int failed = 0;

void check(const char* name, const std::string& body, ErrorCode code, int64_t position,
           int64_t rows) {
  Field id, rescued;
  id.name = "id";
  rescued.name = "_rescued";
  rescued.kind = Kind::Rescued;
  const auto schema = std::make_shared<const Schema>(std::vector<Field>{id, rescued});
  Options options;
  options.max_record_bytes = 6000;
  for (const size_t chunk : {body.size(), size_t{1000}, size_t{100}, size_t{1}}) {
    Decoder decoder(schema, options, InstructionSet::Avx2);
    const auto* const data = reinterpret_cast<const uint8_t*>(body.data());
    bool is_good = true;
    for (size_t at = 0; is_good && at < body.size(); at += chunk) {
      is_good = decoder.feed(data + at, std::min(chunk, body.size() - at));
    }
    if (is_good) decoder.close();
    const Verdict& verdict = decoder.verdict();
    if (verdict.code == code && decoder.envelope().rows == rows &&
        (code == ErrorCode::None || verdict.position == position)) {
      continue;
    }
    std::printf("%s, chunks of %zu: code %d at %lld, %lld rows\n", name, chunk,
                static_cast<int>(verdict.code), static_cast<long long>(verdict.position),
                static_cast<long long>(decoder.envelope().rows));
    failed = 1;
  }
}

std::string text(const std::string& key, size_t size) {
  return '"' + key + "\":\"" + std::string(size, 'x');
}

}  // namespace

int main() {
  const std::string row = "{" + text("id", 60) + "\"}";
  std::string rows = "[";
  for (int i = 0; i < 67; ++i) rows += row + ",";  // 4,020 bytes of text
  const auto next = static_cast<int64_t>(rows.size());
  const std::string open = rows + row.substr(0, row.size() - 1);
  check("one too many", rows + row + "]", ErrorCode::BatchText, next, 67);
  check("one too many, and wrong after it", rows + row + "x", ErrorCode::BatchText, next, 67);
  check("wrong within", open + "]", ErrorCode::CommaOrEnd, static_cast<int64_t>(open.size()), 67);
  check("too long", open + "," + text("x", 9000) + "\"}]", ErrorCode::MaxRecordBytes, next + 6000,
        67);
  check("cut", open, ErrorCode::Truncated, static_cast<int64_t>(open.size()), 67);

  // What does not fit is kept with its path.
  const std::string unknown = "{" + text(std::string(1990, 'k'), 8) + "\"}";
  check("a long path", "[" + unknown + "]", ErrorCode::None, 0, 1);
  check("as many as fit", "[" + unknown + "," + unknown + "]", ErrorCode::None, 0, 2);
  check("one more", "[" + unknown + "," + unknown + "," + unknown + "]", ErrorCode::BatchText,
        static_cast<int64_t>(1 + 2 * (unknown.size() + 1)), 2);
  return failed;
}
