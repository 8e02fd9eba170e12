#include "task/text.hpp"

#include <algorithm>
#include <cstdio>

namespace ray::detail {

namespace {

unsigned byte_at(std::string_view text, std::size_t at) {
  return static_cast<unsigned char>(text[at]);
}

bool is_plain_character(char c) { return c >= 0x20 && c < 0x7f; }

/// C0, DEL and C1 (which some terminals obey as they do ESC).
bool is_control(std::string_view character) {
  const unsigned first = byte_at(character, 0);
  if (character.size() == 1) return first < 0x20 || first == 0x7f;
  return first == 0xc2 && byte_at(character, 1) < 0xa0;
}

std::string escaped(const char* format, unsigned value) {
  char out[12];
  std::snprintf(out, sizeof out, format, value);
  return out;
}

std::string escaped_control(std::string_view character) {
  switch (character[0]) {
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    default:
      break;
  }
  if (character.size() == 2) return escaped("\\u%04x", byte_at(character, 1));
  return escaped("\\x%02x", byte_at(character, 0));
}

}  // namespace

std::size_t character_bytes(std::string_view text) noexcept {
  if (text.empty()) return 0;
  const unsigned first = byte_at(text, 0);
  if (first < 0x80) return 1;
  const std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < size) return 0;
  const unsigned second = byte_at(text, 1);
  // Neither longer than need be, nor a surrogate, nor beyond U+10FFFF.
  const unsigned least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  const unsigned most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  if (second < least || second > most) return 0;
  for (std::size_t i = 2; i < size; ++i) {
    if (byte_at(text, i) < 0x80 || byte_at(text, i) > 0xbf) return 0;
  }
  return size;
}

std::string_view cut(std::string_view text, std::size_t bytes_max) noexcept {
  if (text.size() <= bytes_max) return text;
  std::size_t end = bytes_max;
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, bytes_max); ++back) {
    const std::size_t from = bytes_max - back;
    if (const std::size_t size = character_bytes(text.substr(from)); size != 0) {
      if (size > back) end = from;
      break;
    }
  }
  return text.substr(0, end);
}

std::string printable(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max && std::all_of(text.begin(), text.end(), is_plain_character)) {
    return std::string(text);
  }
  std::string out;
  while (!text.empty()) {
    const std::size_t size = character_bytes(text);
    const std::string_view character = text.substr(0, std::max<std::size_t>(size, 1));
    const std::string shown = size == 0               ? escaped("\\x%02x", byte_at(text, 0))
                              : is_control(character) ? escaped_control(character)
                                                      : std::string(character);
    if (out.size() + shown.size() > bytes_max) return out + "…";
    out += shown;
    text.remove_prefix(character.size());
  }
  return out;
}

std::string json_string(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const std::size_t size = character_bytes(text);
    const std::string_view character = text.substr(0, std::max<std::size_t>(size, 1));
    if (size == 0) {
      out += "\\ufffd";
    } else if (character == "\"" || character == "\\") {
      out += '\\';
      out += character;
    } else if (is_control(character)) {
      out += escaped("\\u%04x", byte_at(character, character.size() - 1));
    } else {
      out += character;
    }
    text.remove_prefix(character.size());
  }
  return out + "\"";
}

}  // namespace ray::detail
