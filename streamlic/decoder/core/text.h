// JSON strings to UTF-8 and back, for text that is known to be valid.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace streamlic {

// Writes what the inside of a JSON string denotes; returns the bytes written, never more than read.
// An unpaired surrogate escape becomes U+FFFD.
size_t unescape(const uint8_t* text, size_t size, uint8_t* out);

// Writes what the escape at `text` denotes; moves both to behind it.
void unescape_one(const uint8_t** text, const uint8_t* end, uint8_t** out);

// What a JSON string token denotes, quotes included in the token.
std::string text_of(const uint8_t* token, size_t size);

// Replaces each unpaired surrogate escape by \ufffd, in place.
void mend_surrogates(uint8_t* text, size_t size);

// Whether there may be something to mend.
bool has_surrogate_escape(const uint8_t* text, size_t size);

// Appends `text` as the inside of a JSON string; what is not ASCII stays as it is.
void append_escaped(std::string& json, std::string_view text);

// The first `characters` code points of UTF-8 text.
std::string_view first_characters(std::string_view text, size_t characters);

}  // namespace streamlic
