// The text of a sample, token by token: whole characters only, and nothing that belongs to a stop
// string.
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
  bool include = false;              // the text keeps the string that ended it
  int32_t min_tokens = 0;            // a string that an earlier token completes does not count
};

// Copyable, so that a StopChecker may own one beside the stream's: equal tokens give equal answers.
// Thread-compatible; the tokenizer must outlive it.
class Detokenizer {
 public:
  // Without a tokenizer (nullptr) every token's text is empty.
  Detokenizer(const Tokenizer* tokenizer, TextStops stops);

  // Takes the next token and returns the text that is certain with it. After a stop string the text
  // is at its end and further tokens give nothing.
  std::string Push(TokenId token);
  // Counts the next token, which has no text: one that stops the sample by its id.
  void PushSilent() { ++tokens_; }
  // Nothing follows: what was held back.
  std::string Flush();

  int32_t tokens() const { return tokens_; }
  bool stopped() const { return !stop_string_.empty(); }
  // The stop string that ended the text; empty if none did.
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
