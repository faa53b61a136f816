// Turns the tokens of a sample into text, token by token. It gives whole UTF-8 characters only and
// holds back bytes that may belong to a stop string.
#ifndef RETNET_SERVER_TEXT_DETOKENIZER_H_
#define RETNET_SERVER_TEXT_DETOKENIZER_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/request.h"
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
  // If `tokenizer` is null, the text of every token is empty. `begun`, which may be null, holds the
  // beginning of a character that the first tokens may complete. It is read with the first token.
  Detokenizer(const Tokenizer* tokenizer, TextStops stops,
              std::shared_ptr<const std::string> begun = nullptr);

  // Adds the next token. Returns the text that no later token can change. Returns nothing once a
  // stop string has ended the text.
  std::string Push(TokenId token);
  // Adds a token that has no text: a stop token, which ends the sample by its id.
  void PushSilent() { ++tokens_; }
  // Ends the text. Returns the bytes that were held back. If `goes_on`, the beginning of a
  // character is not among them: what follows may complete it.
  std::string Flush(bool goes_on = false);

  int32_t tokens() const { return tokens_; }
  bool stopped() const { return !stop_string_.empty(); }
  // The stop string that ended the text. Empty if none did.
  const std::string& stop_string() const { return stop_string_; }
  // What the stop string, if it is not part of the text, means for the tokens.
  const StopDecision& decision() const { return decision_; }

 private:
  // A token that a stop string may reach into.
  struct Place {
    TokenId token = kNoToken;
    int64_t begin = 0;  // in bytes of the text
  };
  void Stop(const std::string& found);

  const Tokenizer* tokenizer_;
  StopStrings stops_;
  bool include_;
  int32_t min_tokens_;

  std::shared_ptr<const std::string> begun_;

  Utf8Assembler characters_;
  std::string held_;  // may belong to a stop string
  int32_t tokens_ = 0;
  std::string stop_string_;
  int64_t text_bytes_ = 0;    // of all characters so far, held_ included
  std::deque<Place> newest_;  // tokens with text in held_ or behind it
  StopDecision decision_;
};

}  // namespace retnet

#endif  // RETNET_SERVER_TEXT_DETOKENIZER_H_
