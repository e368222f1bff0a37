#include "core/reader/record_reader.h"

#include <cstring>

#include "core/json/text.h"

namespace streamlic {

// Each instruction set has one, in a file of its name.
namespace scalar {
std::unique_ptr<RecordReader> make_record_reader(const Schema& schema);
}
namespace sse2 {
std::unique_ptr<RecordReader> make_record_reader(const Schema& schema);
}
namespace avx2 {
std::unique_ptr<RecordReader> make_record_reader(const Schema& schema);
}
namespace neon {
std::unique_ptr<RecordReader> make_record_reader(const Schema& schema);
}

std::unique_ptr<RecordReader> make_record_reader(InstructionSet instructions,
                                                 const Schema& schema) {
  switch (usable_instruction_set(instructions)) {
#if defined(STREAMLIC_HAS_AVX2)
    case InstructionSet::Avx2:
      return avx2::make_record_reader(schema);
#endif
#if defined(STREAMLIC_HAS_SSE2)
    case InstructionSet::Sse2:
      return sse2::make_record_reader(schema);
#endif
#if defined(STREAMLIC_HAS_NEON)
    case InstructionSet::Neon:
      return neon::make_record_reader(schema);
#endif
    default:
      return scalar::make_record_reader(schema);
  }
}

void put_json(ColumnBuilder& column, const Row& row, const uint8_t* text, size_t size,
              bool has_unpaired) {
  if (size == 4 && std::memcmp(text, "null", 4) == 0) return;
  uint8_t* const out = column.add_text(row, size);
  std::memcpy(out, text, size);
  if (has_unpaired) mend_surrogates(out, size);
}

}  // namespace streamlic
