#include "core/json/timestamps.h"

#include <cstring>

namespace streamlic {

namespace {

constexpr int64_t kDay = 86'400'000'000;
constexpr int64_t kMin = -719'162 * kDay;             // 0001-01-01
constexpr int64_t kMax = (2'932'896 + 1) * kDay - 1;  // 9999-12-31, its last microsecond

// Reads one part after the other; once a part is missing, it stays failed.
class Reader {
 public:
  Reader(const uint8_t* text, size_t size) : at_(text), end_(text + size) {}

  bool failed() const { return failed_; }
  bool at_end() const { return at_ == end_; }
  uint8_t peek() const { return at_ < end_ ? *at_ : 0; }
  void skip() { ++at_; }
  bool is_digit() const { return at_ < end_ && static_cast<uint8_t>(*at_ - '0') < 10; }

  void expect(uint8_t byte) {
    if (peek() == byte) {
      ++at_;
    } else {
      failed_ = true;
    }
  }

  int number(int digits) {
    int value = 0;
    for (int i = 0; i < digits; ++i) {
      if (!is_digit()) {
        failed_ = true;
        return 0;
      }
      value = value * 10 + (*at_++ - '0');
    }
    return value;
  }

  int microseconds() {
    if (!is_digit()) failed_ = true;
    int value = 0;
    int unit = 100'000;
    for (; is_digit(); ++at_) {
      value += (*at_ - '0') * unit;
      unit /= 10;
    }
    return value;
  }

 private:
  const uint8_t* at_;
  const uint8_t* end_;
  bool failed_ = false;
};

int days_in(int year, int month) {
  static constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  return kDays[month - 1] + (month == 2 && is_leap);
}

// Days since 1970-01-01 in the proleptic Gregorian calendar.
int64_t days_since_epoch(int year, int month, int day) {
  const int from_march = month > 2 ? month - 3 : month + 9;
  const int64_t y = month > 2 ? year : year - 1;
  const int64_t day_of_year = (153 * from_march + 2) / 5 + day - 1;
  return y * 365 + y / 4 - y / 100 + y / 400 + day_of_year - 719'468;
}

int offset_minutes(Reader& in) {
  const uint8_t sign = in.peek();
  if (sign == 'Z' || sign == 'z') {
    in.skip();
    return 0;
  }
  if (sign != '+' && sign != '-') return 0;
  in.skip();
  const int hours = in.number(2);
  int minutes = 0;
  if (in.peek() == ':') {
    in.skip();
    minutes = in.number(2);
  } else if (in.is_digit()) {
    minutes = in.number(2);
  }
  if (hours > 23 || minutes > 59) return INT32_MAX;
  return (hours * 60 + minutes) * (sign == '-' ? -1 : 1);
}

uint64_t eight_at(const uint8_t* text) {
  uint64_t word;
  std::memcpy(&word, text, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  word = __builtin_bswap64(word);
#endif
  return word;
}

// Eight characters of a date-time, minus the same characters with all digits 0.
struct Eight {
  uint64_t digits;
  uint64_t zero;  // if there is a digit wherever `form` has one, else the same character as `form`

  Eight(const uint8_t* text, const char* form, uint64_t marks) {
    digits = eight_at(text) ^ eight_at(reinterpret_cast<const uint8_t*>(form));
    zero = (((digits + 0x7676767676767676u) | digits) & 0x8080808080808080u) | (digits & marks);
  }
  // The number of two digits at this place.
  int pair(int place) const {
    return static_cast<int>((digits * 10 + (digits >> 8)) >> (8 * place) & 0xFF);
  }
};

// Only the usual form: 2024-05-06T07:08:09Z, with or without a fraction.
bool usual_timestamp(const uint8_t* text, size_t size, int64_t* microseconds) {
  if (size < 20 || size > 27 || text[size - 1] != 'Z') return false;
  const Eight date(text, "0000-00-", 0xFF0000FF00000000u);
  const Eight time(text + 8, "00T00:00", 0x0000FF0000FF0000u);
  const unsigned second_tens = text[17] - '0';
  const unsigned second_ones = text[18] - '0';
  if ((date.zero | time.zero) || text[16] != ':' || second_tens > 5 || second_ones > 9)
    return false;
  const int year = date.pair(0) * 100 + date.pair(2);
  const int month = date.pair(5);
  const int day = time.pair(0);
  const int hour = time.pair(3);
  const int minute = time.pair(6);
  if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_in(year, month) || hour > 23 ||
      minute > 59) {
    return false;
  }
  int fraction = 0;
  if (size > 20) {
    if (text[19] != '.' || size == 21) return false;
    static constexpr int kUnits[] = {1, 100'000, 10'000, 1'000, 100, 10, 1};
    for (size_t i = 20; i < size - 1; ++i) {
      const unsigned digit = text[i] - '0';
      if (digit > 9) return false;
      fraction = fraction * 10 + static_cast<int>(digit);
    }
    fraction *= kUnits[size - 21];
  }
  const int64_t seconds =
      hour * 3600 + minute * 60 + static_cast<int>(second_tens * 10 + second_ones);
  *microseconds = days_since_epoch(year, month, day) * kDay + seconds * 1'000'000 + fraction;
  return true;
}

}  // namespace

bool to_timestamp(const uint8_t* text, size_t size, int64_t* microseconds) {
  if (usual_timestamp(text, size, microseconds)) return true;
  Reader in(text, size);
  const int year = in.number(4);
  in.expect('-');
  const int month = in.number(2);
  in.expect('-');
  const int day = in.number(2);
  if (in.failed() || year < 1 || month < 1 || month > 12 || day < 1 || day > days_in(year, month)) {
    return false;
  }
  int hour = 0;
  int minute = 0;
  int second = 0;
  int micros = 0;
  int offset = 0;
  if (!in.at_end()) {
    if (in.peek() != 'T' && in.peek() != 't' && in.peek() != ' ') return false;
    in.skip();
    hour = in.number(2);
    in.expect(':');
    minute = in.number(2);
    if (in.peek() == ':') {
      in.skip();
      second = in.number(2);
      if (in.peek() == '.' || in.peek() == ',') {
        in.skip();
        micros = in.microseconds();
      }
    }
    offset = offset_minutes(in);
    if (in.failed() || !in.at_end() || hour > 23 || minute > 59 || second > 59 ||
        offset == INT32_MAX) {
      return false;
    }
  }
  const int64_t seconds = hour * 3600 + (minute - offset) * 60 + second;
  const int64_t moment = days_since_epoch(year, month, day) * kDay + seconds * 1'000'000 + micros;
  if (moment < kMin || moment > kMax) return false;
  *microseconds = moment;
  return true;
}

}  // namespace streamlic
