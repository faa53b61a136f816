// The model that requests are for, as the server knows it.
#ifndef RETNET_SERVER_WIRE_SERVED_MODEL_H_
#define RETNET_SERVER_WIRE_SERVED_MODEL_H_

#include <cstdint>

#include "models/generation_config.h"
#include "models/model.h"
#include "models/tokenizer.h"
#include "server/text/text_limits.h"

namespace retnet {

// With its defaults and limits.
struct ServedModel {
  ModelInfo info;
  int32_t max_context_length = 0;
  const Tokenizer* tokenizer = nullptr;  // nullptr: the model serves token ids only
  GenerationConfig defaults;
  int32_t max_draft_tokens = 0;  // the default of a request
  TextLimits text;
};

}  // namespace retnet

#endif  // RETNET_SERVER_WIRE_SERVED_MODEL_H_
