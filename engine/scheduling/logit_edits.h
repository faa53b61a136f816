// The changes of logits that one sequence's penalties, biases and bans amount to.
#ifndef RETNET_ENGINE_SCHEDULING_LOGIT_EDITS_H_
#define RETNET_ENGINE_SCHEDULING_LOGIT_EDITS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/request.h"

namespace retnet {

// Kept up to date token by token, so that a step costs nothing for the tokens before. For each
// token
//   repetition = repetition_penalty if it is in prompt or output, else 1,
//   add = −infinity if it is banned, else
//         logit_bias − frequency_penalty · (times in the output) − presence_penalty · (in the
//         output).
// Thread-compatible.
class LogitEdits {
 public:
  LogitEdits(const SamplingParams& params, std::span<const TokenId> prompt,
             std::span<const TokenId> banned);

  // Takes note of one more token of the output.
  void Count(TokenId token);
  // From now on no token is banned.
  void LiftBan();

  // Valid until the next Count or LiftBan.
  std::span<const LogitEdit> edits() const { return edits_; }

 private:
  // What an edit is computed from.
  struct Origin {
    float bias = 0.0f;
    int32_t count = 0;
    bool banned = false;
  };

  // The place of the token's edit, which is made if it is not there.
  size_t IndexOf(TokenId token);
  void Update(size_t index);

  float repetition_penalty_;
  float frequency_penalty_;
  float presence_penalty_;
  std::vector<LogitEdit> edits_;
  std::vector<Origin> origins_;  // of the edit in the same place
  absl::flat_hash_map<TokenId, size_t> indices_;
};

}  // namespace retnet

#endif  // RETNET_ENGINE_SCHEDULING_LOGIT_EDITS_H_
