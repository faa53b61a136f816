// Random texts with UTF-8 characters of every length, and random ways to cut them.
#ifndef RETNET_TESTS_MODELS_RANDOM_TEXT_H_
#define RETNET_TESTS_MODELS_RANDOM_TEXT_H_

#include <algorithm>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace retnet {

using Random = std::mt19937;

inline int Below(int bound, Random* random) {
  return std::uniform_int_distribution(0, bound - 1)(*random);
}

inline void AppendCharacter(char32_t c, std::string* text) {
  if (c < 0x80) {
    *text += static_cast<char>(c);
  } else if (c < 0x800) {
    *text += static_cast<char>(0xC0 | c >> 6);
    *text += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    *text += static_cast<char>(0xE0 | c >> 12);
    *text += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    *text += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    *text += static_cast<char>(0xF0 | c >> 18);
    *text += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    *text += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    *text += static_cast<char>(0x80 | (c & 0x3F));
  }
}

// A text of few distinct characters, so that stop strings occur, with UTF-8 of all lengths.
inline std::string RandomText(int length, Random* random) {
  constexpr char32_t kCharacters[] = {U'a',   U'b',   U'\n',   0x7F,    0x80,
                                      0xE9,   0x7FF,  0x800,   0xD7FF,  0xE000,
                                      0xFFFD, 0xFFFF, 0x10000, 0x1F642, 0x10FFFF};
  std::string text;
  for (int i = 0; i < length; ++i) {
    AppendCharacter(kCharacters[Below(std::size(kCharacters), random)], &text);
  }
  return text;
}

inline std::string RandomBytes(int length, Random* random) {
  // Mostly bytes at the borders of the rules of UTF-8.
  constexpr unsigned char kBytes[] = {'a',  0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1,
                                      0xC2, 0xDF, 0xE0, 0xE1, 0xED, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5};
  std::string bytes;
  for (int i = 0; i < length; ++i) {
    bytes += static_cast<char>(kBytes[Below(std::size(kBytes), random)]);
  }
  return bytes;
}

// Pieces of 0 to 6 bytes, characters torn.
inline std::vector<std::string> RandomCut(std::string_view text, Random* random) {
  std::vector<std::string> pieces;
  while (!text.empty()) {
    const size_t size = std::min<size_t>(Below(7, random), text.size());
    pieces.emplace_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  return pieces;
}

}  // namespace retnet

#endif  // RETNET_TESTS_MODELS_RANDOM_TEXT_H_
