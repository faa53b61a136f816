// The tokenizer of a SentencePiece model. Only sentencepiece_tokenizer.cc uses SentencePiece.
#ifndef RETNET_MODELS_TOKENIZERS_SENTENCEPIECE_TOKENIZER_H_
#define RETNET_MODELS_TOKENIZERS_SENTENCEPIECE_TOKENIZER_H_

#include <memory>
#include <optional>
#include <string_view>

#include "absl/status/statusor.h"
#include "models/tokenizer.h"
#include "models/tokenizers/sentencepiece_model.h"

namespace retnet {

// `bytes` are the content of a file, which `model` describes. Adds a BOS if `adds_bos`, or if it is
// not set and the model has a BOS token. INVALID_ARGUMENT, without the file's name, for bytes that
// are no model.
absl::StatusOr<std::unique_ptr<Tokenizer>> MakeSentencePieceTokenizer(
    std::string_view bytes, const SentencePieceModel& model, std::optional<bool> adds_bos);

}  // namespace retnet

#endif  // RETNET_MODELS_TOKENIZERS_SENTENCEPIECE_TOKENIZER_H_
