// Turns the tokens of a sample into text, token by token. It gives whole UTF-8 characters only and
// holds back bytes that may belong to a stop string.
#ifndef RETNET_SERVER_TEXT_DETOKENIZER_H_
#define RETNET_SERVER_TEXT_DETOKENIZER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "models/tokenizer.h"
#include "models/utf8.h"
#include "server/text/stop_strings.h"

namespace retnet {

struct TextStops {
  std::vector<std::string> strings;  // none empty
  bool include = false;              // keep the stop string at the end of the text
  int32_t min_tokens = 0;            // ignore stop strings that end before this many tokens
};

// Copyable: the stream owns one and the engine's StopChecker owns a copy. Equal tokens give equal
// results in both. Thread-compatible. The tokenizer must outlive it.
class Detokenizer {
 public:
  // If `tokenizer` is null, the text of every token is empty.
  Detokenizer(const Tokenizer* tokenizer, TextStops stops);

  // Adds the next token. Returns the text that no later token can change. Returns nothing once a
  // stop string has ended the text.
  std::string Push(TokenId token);
  // Adds a token that has no text: a stop token, which ends the sample by its id.
  void PushSilent() { ++tokens_; }
  // Ends the text. Returns the bytes that were held back.
  std::string Flush();

  int32_t tokens() const { return tokens_; }
  bool stopped() const { return !stop_string_.empty(); }
  // The stop string that ended the text. Empty if none did.
  const std::string& stop_string() const { return stop_string_; }

 private:
  const Tokenizer* tokenizer_;
  StopStrings stops_;
  bool include_;
  int32_t min_tokens_;

  Utf8Assembler characters_;
  std::string held_;  // may belong to a stop string
  int32_t tokens_ = 0;
  std::string stop_string_;
};

}  // namespace retnet

#endif  // RETNET_SERVER_TEXT_DETOKENIZER_H_
