// Text to token ids and back, by the checkpoint's SentencePiece model. Everything of SentencePiece
// stays in tokenizer.cc.
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

// Immutable after Load; all methods may be called from any thread.
class Tokenizer {
 public:
  // Reads DIR/tokenizer.model and, where it is there, DIR/tokenizer_config.json. NOT_FOUND without
  // a tokenizer.model.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::string& directory);
  virtual ~Tokenizer() = default;

  virtual int32_t vocab_size() const = 0;
  // tokenizer_config.json's add_bos_token; else whether the model has a BOS.
  virtual bool adds_bos() const = 0;
  virtual TokenId bos() const = 0;  // kNoToken if none

  // No BOS or EOS is added. INVALID_ARGUMENT for text that is not UTF-8, naming the byte.
  virtual absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text) const = 0;
  // The text of whole histories: the tokens' bytes, without a space that encoding put before the
  // text. Control tokens give nothing; an id outside the vocabulary is OUT_OF_RANGE. Not UTF-8
  // where byte-fallback tokens do not add up to characters.
  virtual absl::StatusOr<std::string> Decode(std::span<const TokenId> tokens) const = 0;
  // The bytes one token adds when it follows others (a byte-fallback token is its one byte, which
  // alone may not be UTF-8); empty for control tokens and ids outside the vocabulary.
  virtual std::string_view Bytes(TokenId token) const = 0;
};

}  // namespace retnet

#endif  // RETNET_MODELS_TOKENIZER_H_
