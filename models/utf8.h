// UTF-8 that arrives in pieces: assembles whole characters.
#ifndef RETNET_MODELS_UTF8_H_
#define RETNET_MODELS_UTF8_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace retnet {

// Converts bytes to UTF-8 text. Keeps an incomplete character until its other bytes arrive.
// Replaces bytes that cannot belong to a character by U+FFFD, one for each maximal subpart of a
// character (Unicode 15, table 3-8). The text does not depend on how the bytes are divided into
// pieces. Thread-compatible.
class Utf8Assembler {
 public:
  // Appends to `text` the characters that `bytes` complete.
  void Push(std::string_view bytes, std::string* text);
  // Ends the text: appends U+FFFD if a character is incomplete.
  void Flush(std::string* text);
  // Bytes of an incomplete character: 0 to 3.
  size_t pending() const { return partial_.size(); }

 private:
  std::string partial_;  // the beginning of an incomplete character: 0 to 3 bytes
};

// The bytes at the end of `bytes` that begin a character and do not complete it: 0 to 3.
std::string_view IncompleteCharacter(std::string_view bytes);

// The index of the first bytes that are not UTF-8, if any.
std::optional<size_t> FirstInvalidUtf8(std::string_view text);

}  // namespace retnet

#endif  // RETNET_MODELS_UTF8_H_
