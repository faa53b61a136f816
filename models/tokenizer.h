// Converts text to token ids and back, as the files of the checkpoint say. models/tokenizers/ has
// the implementations.
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
  // Reads the tokenizer in `directory`: SentencePiece's tokenizer.model, or spiece.model, another
  // name of it; or Hugging Face's tokenizer.json. If both kinds are there, SentencePiece's is taken
  // if both give each id the same piece, else the tokenizer.json. The BOS is tokenizer_config.json's
  // if that exists. NOT_FOUND without a tokenizer; INVALID_ARGUMENT for a file that is malformed, or
  // asks for what is not supported.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::string& directory);
  virtual ~Tokenizer() = default;

  virtual int32_t vocab_size() const = 0;
  // Whether prompts begin with BOS: add_bos_token of tokenizer_config.json; if absent, whether a
  // SentencePiece model has a BOS token, or the template of a tokenizer.json begins with one.
  virtual bool adds_bos() const = 0;
  virtual TokenId bos() const = 0;  // kNoToken if there is none

  // Adds no BOS or EOS. INVALID_ARGUMENT if the text is not UTF-8; the error names the byte.
  // Memory: up to 250 bytes for each byte of the text.
  virtual absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text) const = 0;
  // The same for a text that follows other tokens: nothing is put before it, and a space that it
  // begins with stays.
  virtual absl::StatusOr<std::vector<TokenId>> EncodeNext(std::string_view text) const = 0;

  // The same tokenizer, owned by this one, but that special tokens (control tokens, such as <s>)
  // may be written in a text. Otherwise their text is text.
  virtual const Tokenizer& ParsingSpecialTokens() const { return *this; }

  // A cut is a position within a text such that Encode of the text is Encode of what is before the
  // position, joined by Join with EncodeNext of what is behind it. It stays a cut whatever text is
  // added. FirstCut gives the first one that is at `from` or behind it and before `end`, LastCut
  // the last one; npos if there is none. The text is UTF-8.
  virtual size_t FirstCut(std::string_view text, size_t from, size_t end) const = 0;
  virtual size_t LastCut(std::string_view text) const = 0;
  virtual void Join(std::span<const TokenId> next, std::vector<TokenId>* tokens) const = 0;
  // The most bytes of a text that one token can stand for. 0: there is no bound.
  virtual size_t max_token_bytes() const = 0;

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
