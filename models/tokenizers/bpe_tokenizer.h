// The tokenizer of a tokenizer.json with BPE.
#ifndef RETNET_MODELS_TOKENIZERS_BPE_TOKENIZER_H_
#define RETNET_MODELS_TOKENIZERS_BPE_TOKENIZER_H_

#include <memory>
#include <optional>
#include <string>

#include "models/tokenizer.h"
#include "models/tokenizers/tokenizer_json.h"

namespace retnet {

// What a checkpoint says of the beginning of a text beside its tokenizer.
struct BosConfig {
  std::optional<bool> adds_bos;
  std::string bos_token;  // empty: not said
};

// What the config leaves open, the template of the tokenizer.json says: which token is BOS, and
// whether it is put before a text.
std::unique_ptr<Tokenizer> MakeBpeTokenizer(TokenizerJson parsed, const BosConfig& config);

}  // namespace retnet

#endif  // RETNET_MODELS_TOKENIZERS_BPE_TOKENIZER_H_
