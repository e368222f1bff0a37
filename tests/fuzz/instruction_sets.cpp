// Every instruction set that this processor has reads the same from the same bodies as the scalar one.
//
// Needs neither Python nor libFuzzer, so that it runs under an emulator of another processor. It makes
// bodies from a seed, damages half of them, and gives each to the fuzz target, which compares.
// Usage: instruction_sets [bodies]

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "core/instruction_set.h"
#include "core/json/utf8.h"

using namespace streamlic;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr const char* kNames[] = {"scalar", "sse2", "avx2", "neon"};

std::mt19937 random_bits(7);

size_t below(size_t limit) { return random_bits() % limit; }

template <size_t kCount>
std::string one_of(const char* const (&texts)[kCount]) {
  return texts[below(kCount)];
}

std::string text() {
  static const char* const kParts[] = {
      "a",       "plain words", "\\\"", "\\\\",   "\\u00e9", "\\ud83d\\ude00",
      "\\ud800", "\\n",         "é",    "会議室", "😀",      "2024-05-06T07:08:09Z",
      "{}[],:"};
  std::string result;
  for (size_t parts = below(4); parts; --parts) result += one_of(kParts);
  result.append(below(8) ? 0 : below(300), 'x');
  return '"' + result + '"';
}

std::string space() {
  static const char* const kSpaces[] = {"", "", "", "", "", "", " ", "\n\t", "  \r\n  "};
  return one_of(kSpaces);
}

std::string value(int depth) {
  static const char* const kScalars[] = {"0",     "7",    "-12",  "12345678", "123456789012",
                                         "1.5",   "-0",   "1e3",  "0.125",    "true",
                                         "false", "null", "1e400"};
  static const char* const kKeys[] = {"\"id\"",
                                      "\"n\"",
                                      "\"d\"",
                                      "\"b\"",
                                      "\"t\"",
                                      "\"s\"",
                                      "\"l\"",
                                      "\"j\"",
                                      "\"x\"",
                                      "\"unknown\"",
                                      "\"q\\\"\"",
                                      "\"\\u0069d\"",
                                      "\"key\"",
                                      "\"statusCode\"",
                                      "\"a_key_that_is_long\"",
                                      "\"a_key_that_is_long_too\""};
  const size_t kind = below(depth > 4 ? 6 : 10);
  if (kind < 3) return one_of(kScalars);
  if (kind < 6) return text();
  const bool is_object = kind < 8;
  std::string result = is_object ? "{" : "[";
  for (size_t members = below(6), i = 0; i < members; ++i) {
    if (i) result += space() + ',' + space();
    if (is_object) result += one_of(kKeys) + space() + ':' + space();
    result += value(depth + 1);
  }
  return result + (is_object ? '}' : ']');
}

std::string record() {
  std::string result = "{\"id\":" + text() + space() + ",\"n\":" + std::to_string(below(100'000));
  static const char* const kKeys[] = {"d", "b", "t", "s", "l", "j", "unknown"};
  for (const char* key : kKeys) {
    if (below(2)) result += ",\"" + std::string(key) + "\":" + value(0);
  }
  return result + '}';
}

std::string body() {
  const size_t form = below(4);
  std::string result = form == 0 ? "{\"result\":[" : form == 1 ? "[" : "";
  for (size_t rows = below(12), i = 0; i < rows; ++i) {
    if (i) result += form < 2 ? "," + space() : "\n";
    result += below(6) ? record() : value(0);
  }
  return result + (form == 0 ? "],\"next_cursor\":null}" : form == 1 ? "]" : "\n");
}

void damage(std::string& text) {
  static const char kBytes[] = "\"\\{}[],: \n\x01\x1f\x20\x7f\x80\xc3\xed\xa0\xf4\x90-e.0";
  for (size_t times = 1 + below(3); times && !text.empty(); --times) {
    const size_t at = below(text.size());
    const char byte = kBytes[below(sizeof kBytes - 1)];
    switch (below(4)) {
      case 0:
        text[at] = byte;
        break;
      case 1:
        text.insert(at, 1, byte);
        break;
      case 2:
        text.erase(at, 1 + below(3));
        break;
      default:
        text.resize(at);
    }
  }
}

std::string head() {
  std::string options(6, '\0');
  for (char& option : options) option = below(3) ? '\0' : static_cast<char>(random_bits());
  options[2] = '\0';  // Short limits would end most bodies early.
  options[3] = '\0';
  options[5] = static_cast<char>(2 + below(2));
  return options;
}

// Where UTF-8 is ill-formed, by the offset from the start, fed in chunks of so many bytes.
int64_t ill_formed(InstructionSet instructions, const std::string& text, size_t chunk) {
  Utf8Check check(instructions);
  const auto* const bytes = reinterpret_cast<const uint8_t*>(text.data());
  for (size_t at = 0; at < text.size(); at += chunk) {
    const int64_t offset = check.take(bytes + at, std::min(chunk, text.size() - at));
    if (offset != Utf8Check::kSound) return offset + static_cast<int64_t>(at);
  }
  return Utf8Check::kSound;
}

bool compare_utf8() {
  static const char* const kParts[] = {"a",
                                       "plain ascii for a while and then some more of it",
                                       "é",
                                       "ж",
                                       "会",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xef\xbf\xbf",
                                       "😀",
                                       "\xf4\x8f\xbf\xbf"};
  std::string text;
  for (size_t parts = below(200); parts; --parts) text += one_of(kParts);
  if (below(2)) damage(text);
  const int64_t expected = ill_formed(InstructionSet::Scalar, text, text.size() + 1);
  for (const size_t chunk : {text.size() + 1, 1 + below(300)}) {
    if (ill_formed(best_instruction_set(), text, chunk) != expected) {
      std::fprintf(stderr, "UTF-8 is not checked alike\n");
      return false;
    }
  }
  return true;
}

// Each ill-formed sequence at each place of a vector, between characters of each length.
bool compare_ill_formed() {
  static const char* const kFillers[] = {"a", "é", "会", "😀"};
  static const char* const kBad[] = {"\x80",
                                     "\xc3",
                                     "\xc0\x80",
                                     "\xe4\xbc",
                                     "\xe0\x80\x80",
                                     "\xed\xa0\x80",
                                     "\xf0\x80\x80\x80",
                                     "\xf0\x9f\x98",
                                     "\xf4\x90\x80\x80",
                                     "\xff"};
  for (const std::string filler : kFillers) {
    std::string many;
    for (int i = 0; i < 80; ++i) many += filler;
    for (const std::string bad : kBad) {
      for (size_t ascii = 0; ascii < 66; ++ascii) {
        for (const std::string& before : {std::string(), many}) {
          const std::string text = before + std::string(ascii, 'a') + bad + many;
          const size_t chunk = text.size();
          if (ill_formed(best_instruction_set(), text, chunk) !=
              ill_formed(InstructionSet::Scalar, text, chunk)) {
            std::fprintf(stderr, "ill-formed UTF-8 is not found alike\n");
            return false;
          }
        }
      }
    }
  }
  return true;
}

}  // namespace

int main(int count, char** arguments) {
  if (!compare_ill_formed()) return 1;
  const int bodies = count > 1 ? std::atoi(arguments[1]) : 10'000;
  for (int i = 0; i < bodies; ++i) {
    std::string given = body();
    if (i % 2) damage(given);
    given.insert(0, head());
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(given.data()), given.size());
    if (!compare_utf8()) return 1;
  }
  std::printf("%d bodies: scalar and %s agree\n", bodies,
              kNames[static_cast<int>(best_instruction_set())]);
  return 0;
}
