// Converts text to token ids and back with the SentencePiece model of the checkpoint. Only
// tokenizer.cc uses SentencePiece.
#ifndef RETNET_MODELS_TOKENIZER_H_
#define RETNET_MODELS_TOKENIZER_H_

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/tensor.h"

namespace retnet {

// Immutable after Load. Any thread may call any function.
class Tokenizer {
 public:
  // Reads tokenizer.model in `directory` and, if it exists, tokenizer_config.json. NOT_FOUND
  // without a tokenizer.model; INVALID_ARGUMENT for a malformed file.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::string& directory);
  virtual ~Tokenizer() = default;

  virtual int32_t vocab_size() const = 0;
  // Whether prompts begin with BOS: add_bos_token of tokenizer_config.json; if absent, whether the
  // model has a BOS token.
  virtual bool adds_bos() const = 0;
  virtual TokenId bos() const = 0;  // kNoToken if there is none

  // Adds no BOS or EOS. INVALID_ARGUMENT if the text is not UTF-8; the error names the byte.
  virtual absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text) const = 0;
  // The text of a whole token sequence: the bytes of its tokens, without the space that Encode puts
  // before the text. Control tokens have no bytes. The result is not UTF-8 if byte-fallback tokens
  // do not form complete characters. OUT_OF_RANGE for an id outside the vocabulary.
  virtual absl::StatusOr<std::string> Decode(std::span<const TokenId> tokens) const = 0;
  // The bytes that a token adds after other tokens. A byte-fallback token adds one byte, which need
  // not be UTF-8 by itself. Empty for control tokens and for ids outside the vocabulary.
  virtual std::string_view Bytes(TokenId token) const = 0;
};

}  // namespace retnet

#endif  // RETNET_MODELS_TOKENIZER_H_
