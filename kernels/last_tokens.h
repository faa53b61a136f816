// The tokens that slots sampled last, for backends that compute on the host.
#ifndef RETNET_KERNELS_LAST_TOKENS_H_
#define RETNET_KERNELS_LAST_TOKENS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/operands.h"
#include "kernels/sampling.h"
#include "kernels/tensor.h"

namespace retnet {

class HostLastTokens {
 public:
  HostLastTokens() = default;
  explicit HostLastTokens(int32_t slots) : tokens_(slots, kNoToken) {}

  // The token itself, or the one that it stands for.
  TokenId Resolve(TokenId token) const {
    return token >= 0 ? token : tokens_[SlotOfLastToken(token)];
  }
  // See the operator Answer.
  void Keep(std::span<const int32_t> keep_in, std::span<const LogitsAnswer> answers) {
    for (size_t i = 0; i < answers.size(); ++i) {
      if (keep_in[i] != kNotKept) tokens_[keep_in[i]] = answers[i].token;
    }
  }
  void Copy(int32_t from, int32_t to) { tokens_[to] = tokens_[from]; }

 private:
  std::vector<TokenId> tokens_;  // [slots]
};

}  // namespace retnet

#endif  // RETNET_KERNELS_LAST_TOKENS_H_
