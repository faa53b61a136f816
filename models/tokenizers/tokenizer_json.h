// Reads a tokenizer.json, the file of Hugging Face's library "tokenizers", as far as BPE goes.
#ifndef RETNET_MODELS_TOKENIZERS_TOKENIZER_JSON_H_
#define RETNET_MODELS_TOKENIZERS_TOKENIZER_JSON_H_

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "models/tokenizers/added_tokens.h"
#include "models/tokenizers/bpe.h"
#include "models/tokenizers/word_pattern.h"

namespace retnet {

// What is done to a text before it is words, and to tokens to make text of them. There are two
// families: byte-level, whose words are of bytes; and that of SentencePiece, in which U+2581 takes
// the place of spaces.
struct TextPipeline {
  enum Prefix {
    kNoPrefix,
    kAlways,       // a space before each text between added tokens
    kUnlessSpace,  // the same, unless there is one
    kFirst,        // unless there is one, and before what begins the whole text alone
  };
  bool byte_level = false;
  bool nfc = false;  // normal form C first
  Prefix prefix = kNoPrefix;
  bool marks_spaces = false;         // a space becomes U+2581, before added tokens are looked for
  bool marks_words = false;          // the same, behind that
  bool divides_at_marks = false;     // a word begins at each U+2581
  WordPattern pattern;               // of words, if byte_level
  bool drops_leading_space = false;  // a text that is made of tokens loses a space at its begin
};

struct TokenizerJson {
  std::vector<std::string> pieces;  // by id, as they are written; empty: no token has the id
  BpeVocabulary vocabulary;
  TextPipeline pipeline;
  std::vector<AddedToken> added;
  // The token that its template puts before a text, or kNoToken.
  TokenId template_bos = kNoToken;
};

// INVALID_ARGUMENT, without the file's name, for what is malformed and for what is not supported,
// which is named.
absl::StatusOr<TokenizerJson> ParseTokenizerJson(const nlohmann::json& object);

// The pieces of a tokenizer.json by id, of any model that has a list of them. INVALID_ARGUMENT if
// there is none.
absl::StatusOr<std::vector<std::string>> ReadPieces(const nlohmann::json& object);
absl::StatusOr<std::vector<AddedToken>> ReadAddedTokens(const nlohmann::json& object);

// Reads normalizer, pre_tokenizer and decoder.
absl::StatusOr<TextPipeline> ReadTextPipeline(const nlohmann::json& object);

// The bytes that a piece of byte-level BPE stands for: each is written as a character of its own.
// nullopt if a character is none of these.
std::optional<std::string> BytesOfPiece(std::string_view piece);

}  // namespace retnet

#endif  // RETNET_MODELS_TOKENIZERS_TOKENIZER_JSON_H_
