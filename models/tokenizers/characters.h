// The characters of a text in UTF-8, and what Unicode says of them.
#ifndef RETNET_MODELS_TOKENIZERS_CHARACTERS_H_
#define RETNET_MODELS_TOKENIZERS_CHARACTERS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace retnet {

// In the pieces of many vocabularies this character, U+2581, stands for a space.
inline constexpr char32_t kSpaceMark = 0x2581;
inline constexpr char kSpaceMarkUtf8[] = "\xe2\x96\x81";

// All texts below are valid UTF-8.

// Whether the byte continues a character.
inline bool Continues(char byte) { return (byte & 0xC0) == 0x80; }

// The bytes of the character with this first byte.
inline size_t CharacterBytes(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

// The character that begins at `at`.
inline char32_t CharacterAt(std::string_view text, size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  if (lead < 0x80) return lead;
  char32_t c = lead < 0xE0 ? lead & 0x1F : lead < 0xF0 ? lead & 0xF : lead & 0x7;
  for (size_t i = at + 1; i < text.size() && Continues(text[i]); ++i) c = c << 6 | (text[i] & 0x3F);
  return c;
}

// `at` is above 0.
inline size_t BeginOfCharacterBefore(std::string_view text, size_t at) {
  do {
    --at;
  } while (at > 0 && Continues(text[at]));
  return at;
}

inline std::vector<char32_t> Characters(std::string_view text) {
  std::vector<char32_t> characters;
  for (size_t i = 0; i < text.size(); ++i) {
    if (i == 0 || !Continues(text[i])) characters.push_back(CharacterAt(text, i));
  }
  return characters;
}

// A character's key in sets of neighbours.
inline uint64_t PairOf(char32_t before, char32_t after) { return uint64_t{before} << 32 | after; }

// The first position at `from` or behind it, and before `end`, with a character on each side of
// which safe(before, after) holds; npos if there is none. `from` may be within a character.
template <typename Safe>
size_t FirstSafeCut(std::string_view text, size_t from, size_t end, const Safe& safe) {
  if (end > text.size()) end = text.size();
  size_t at = from < 1 ? 1 : from;
  while (at < end && Continues(text[at])) ++at;
  if (at >= end) return std::string_view::npos;
  char32_t before = CharacterAt(text, BeginOfCharacterBefore(text, at));
  uint64_t refused = 0;  // long runs repeat themselves
  while (at < end) {
    const char32_t after = CharacterAt(text, at);
    if (PairOf(before, after) != refused && safe(before, after)) return at;
    refused = PairOf(before, after);
    before = after;
    do {
      ++at;
    } while (at < end && Continues(text[at]));
  }
  return std::string_view::npos;
}

// The last such position in the text.
template <typename Safe>
size_t LastSafeCut(std::string_view text, const Safe& safe) {
  if (text.empty()) return std::string_view::npos;
  size_t at = BeginOfCharacterBefore(text, text.size());
  while (at > 0) {
    const size_t earlier = BeginOfCharacterBefore(text, at);
    if (safe(CharacterAt(text, earlier), CharacterAt(text, at))) return at;
    at = earlier;
  }
  return std::string_view::npos;
}

// What regular expressions call \p{L}, \p{N}, \s, and all else.
enum class CharacterClass : uint8_t { kLetter, kNumber, kSpace, kOther };
CharacterClass ClassOf(char32_t c);
inline bool IsLineEnd(char32_t c) { return c == '\r' || c == '\n'; }
// \w
bool IsWordCharacter(char32_t c);

// The text in Unicode's normal form C, in which a letter and its marks are one character where
// there is one.
std::string Nfc(std::string_view text);
// Whether neither what is before the character nor what is behind it decides on its normal form,
// which is itself, but that marks behind it may join it.
bool BeginsNfc(char32_t c);
// The first character that `c` decomposes into; `c` itself if it does not.
char32_t DecomposedFirst(char32_t c);

}  // namespace retnet

#endif  // RETNET_MODELS_TOKENIZERS_CHARACTERS_H_
