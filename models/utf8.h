// UTF-8 as it arrives in pieces: whole characters out, whatever the cuts.
#ifndef RETNET_MODELS_UTF8_H_
#define RETNET_MODELS_UTF8_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace retnet {

// Turns bytes into UTF-8 text. An incomplete character waits for its other bytes; bytes that can
// belong to none become U+FFFD, one for each maximal part of a character (Unicode 15, table 3-8).
// The text does not depend on how the bytes were cut. Thread-compatible.
class Utf8Assembler {
 public:
  // Appends to `text` what `bytes` complete.
  void Push(std::string_view bytes, std::string* text);
  // Nothing follows: appends U+FFFD if a character is incomplete.
  void Flush(std::string* text);

 private:
  std::string partial_;  // a proper beginning of a character: 0 to 3 bytes
};

// Where the first bytes stand that are not UTF-8, if any.
std::optional<size_t> FirstInvalidUtf8(std::string_view text);

}  // namespace retnet

#endif  // RETNET_MODELS_UTF8_H_
