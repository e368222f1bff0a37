// The fields of LICENSE_SCHEMA with simdjson On-Demand, from one whole padded body into plain
// buffers: a measure of what is possible on this machine, for comparison only.
//
// Its advantages: it needs the whole body in memory, drops values that do not fit their column and
// unknown fields, reports no positions, bounds neither record nor depth, and appends every value of
// a repeated key.
//
// Protocol (that of benchmarks/cases/worker.py): a line of JSON when warm, then one for each line read.

#include "simdjson_columns.h"

#include <simdjson.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>

using namespace simdjson;

namespace {

bool digits(const char *at, int count, int64_t &value) {
  value = 0;
  for (int i = 0; i < count; ++i) {
    const unsigned digit = static_cast<unsigned char>(at[i]) - '0';
    if (digit > 9) return false;
    value = value * 10 + digit;
  }
  return true;
}

// Microseconds since 1970 of YYYY-MM-DDTHH:MM:SS[.fraction](Z|+HH:MM); false for anything else.
bool moment(std::string_view text, int64_t &micros) {
  int64_t year, month, day, hour, minute, second;
  const char *at = text.data();
  if (text.size() < 19 || !digits(at, 4, year) || !digits(at + 5, 2, month) ||
      !digits(at + 8, 2, day) || !digits(at + 11, 2, hour) || !digits(at + 14, 2, minute) ||
      !digits(at + 17, 2, second)) {
    return false;
  }
  int64_t fraction = 0;
  size_t place = 19;
  if (place < text.size() && text[place] == '.') {
    int64_t unit = 100000;
    for (++place; place < text.size() && text[place] >= '0' && text[place] <= '9'; ++place) {
      fraction += (text[place] - '0') * unit;
      unit /= 10;
    }
  }
  int64_t offset = 0;
  if (place + 6 <= text.size() && (text[place] == '+' || text[place] == '-')) {
    int64_t hours, minutes;
    if (!digits(at + place + 1, 2, hours) || !digits(at + place + 4, 2, minutes)) return false;
    offset = (hours * 60 + minutes) * (text[place] == '-' ? -1 : 1);
  }
  year -= month <= 2;  // Days from civil, after Howard Hinnant.
  const int64_t era = year / 400, of_era = year - era * 400;
  const int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const int64_t days = era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
  micros = (days * 86400 + hour * 3600 + (minute - offset) * 60 + second) * 1000000 + fraction;
  return true;
}

void take(ondemand::value value, Texts &column) {
  std::string_view text;
  const bool is_valid = !value.get_string().get(text);
  column.add(is_valid ? text : std::string_view{}, is_valid);
}

void take(ondemand::value value, Values<int64_t> &column) {
  int64_t number = 0;
  const bool is_valid = !value.get_int64().get(number);
  column.add(number, is_valid);
}

void take(ondemand::value value, Values<double> &column) {
  double number = 0;
  const bool is_valid = !value.get_double().get(number);
  column.add(number, is_valid);
}

void take(ondemand::value value, Values<uint8_t> &column) {
  bool truth = false;
  const bool is_valid = !value.get_bool().get(truth);
  column.add(truth, is_valid);
}

void take_moment(ondemand::value value, Values<int64_t> &column) {
  std::string_view text;
  int64_t micros = 0;
  const bool is_valid = !value.get_string().get(text) && moment(text, micros);
  column.add(micros, is_valid);
}

void take_json(ondemand::value value, Texts &column) {
  ondemand::json_type type = value.type();
  std::string_view text;
  if (type == ondemand::json_type::object) {
    ondemand::object object = value.get_object();
    text = object.raw_json();
  } else if (type == ondemand::json_type::array) {
    ondemand::array array = value.get_array();
    text = array.raw_json();
  } else {
    text = value.raw_json_token();
  }
  column.add(text, type != ondemand::json_type::null);
}

void take(ondemand::value value, Named &column, bool has_status) {
  ondemand::array elements;
  if (value.get_array().get(elements)) return column.end(false);
  for (ondemand::object element : elements) {
    for (ondemand::field field : element) {
      const ondemand::raw_json_string key = field.key();
      if (key.unsafe_is_equal("id")) {
        take(field.value(), column.id);
      } else if (key.unsafe_is_equal("name")) {
        take(field.value(), column.name);
      } else if (has_status && key.unsafe_is_equal("status")) {
        take(field.value(), column.status);
      }
    }
    const size_t count = static_cast<size_t>(column.offsets.back());
    const size_t size = std::max(std::max(column.id.valid.size(), column.name.valid.size()),
                                 std::max(column.status.valid.size(), count + 1));
    column.id.fill(size), column.name.fill(size);
    if (has_status) column.status.fill(size);
  }
  column.end(true);
}

// The first letter narrows the choice, as a generated matcher would: 14 keys, at most 2 compares.
void take_field(ondemand::field &field, Columns &to) {
  const ondemand::raw_json_string key = field.key();
  switch (key.raw()[0]) {
    case 'i':
      if (key.unsafe_is_equal("id")) return take(field.value(), to.id);
      if (key.unsafe_is_equal("is_paid")) return take(field.value(), to.is_paid);
      return;
    case 'n':
      if (key.unsafe_is_equal("name")) return take(field.value(), to.name);
      return;
    case 'd':
      if (key.unsafe_is_equal("description")) return take(field.value(), to.description);
      return;
    case 'a':
      if (key.unsafe_is_equal("available_quantity")) return take(field.value(), to.available);
      if (key.unsafe_is_equal("assigned_quantity")) return take(field.value(), to.assigned);
      return;
    case 'u':
      if (key.unsafe_is_equal("unit_amount")) return take(field.value(), to.unit_amount);
      if (key.unsafe_is_equal("updated_at")) return take_moment(field.value(), to.updated);
      return;
    case 'c':
      if (key.unsafe_is_equal("currency")) return take(field.value(), to.currency);
      if (key.unsafe_is_equal("created_at")) return take_moment(field.value(), to.created);
      return;
    case 's':
      if (key.unsafe_is_equal("status")) return take(field.value(), to.status);
      return;
    case 'p':
      if (key.unsafe_is_equal("products")) return take(field.value(), to.products, true);
      return;
    case 'r':
      if (key.unsafe_is_equal("remote_data")) return take_json(field.value(), to.remote_data);
      if (key.unsafe_is_equal("roles")) return take(field.value(), to.roles, false);
      return;
    default:
      return;
  }
}

void extract(ondemand::parser &parser, const padded_string &body, Columns &columns) {
  ondemand::document document = parser.iterate(body);
  for (ondemand::field member : document.get_object()) {
    if (!member.key().unsafe_is_equal("result")) continue;
    for (ondemand::object record : member.value().get_array()) {
      for (ondemand::field field : record) take_field(field, columns);
      columns.end_row();
    }
  }
}

double cpu_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  return used.ru_utime.tv_sec + used.ru_stime.tv_sec +
         (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

long peak_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmHWM:", 0) == 0) return std::stol(line.substr(6));
  }
  return 0;
}

void measure(const padded_string &body, double at_least_seconds) {
  static ondemand::parser parser;
  static Columns columns;
  using clock = std::chrono::steady_clock;
  const auto start = clock::now();
  const double cpu_start = cpu_seconds();
  int repeats = 0;
  double seconds = 0;
  do {
    columns.clear();
    extract(parser, body, columns);
    ++repeats;
    seconds = std::chrono::duration<double>(clock::now() - start).count();
  } while (seconds < at_least_seconds);
  const double cpu = cpu_seconds() - cpu_start;
  std::printf("{\"seconds\": %.9f, \"cpu_seconds\": %.9f, \"rows\": %zu, \"bytes\": %zu, "
              "\"values\": %zu, \"peak_kib\": %ld, \"engine\": \"simdjson %s, %s\"}\n",
              seconds / repeats, cpu / repeats, columns.rows, body.size(),
              columns.count(), peak_kib(), SIMDJSON_STRINGIFY(SIMDJSON_VERSION),
              simdjson::get_active_implementation()->name().c_str());
  std::fflush(stdout);
}

}  // namespace

int main(int count, char **arguments) {
  if (count != 3) return 2;
  try {
    const padded_string body = padded_string::load(arguments[1]);
    const double at_least_seconds = std::stod(arguments[2]);
    measure(body, 0);
    for (std::string line; std::getline(std::cin, line);) measure(body, at_least_seconds);
  } catch (const std::exception &error) {
    std::printf("{\"error\": \"%s\"}\n", error.what());
    return 1;
  }
}
