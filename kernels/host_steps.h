// The part of the concept Kernels that is the same for all backends that compute during the call,
// on the host: steps are never in flight.
#ifndef RETNET_KERNELS_HOST_STEPS_H_
#define RETNET_KERNELS_HOST_STEPS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/operands.h"
#include "kernels/sampling.h"
#include "kernels/tensor.h"

namespace retnet {

// The last sampled token of each slot. Thread-compatible.
class HostLastTokens {
 public:
  HostLastTokens() = default;
  explicit HostLastTokens(int32_t slots) : tokens_(slots, kNoToken) {}

  // `token` itself, or, for LastTokenOf(slot), the last token that the slot sampled.
  TokenId Resolve(TokenId token) const {
    return token >= 0 ? token : tokens_[SlotOfLastToken(token)];
  }
  // Stores results[i].token, or 0 for none, as the last token of slot keep_in[i], unless that is
  // kNotKept.
  void Keep(std::span<const int32_t> keep_in, std::span<const SampleResult> results) {
    for (size_t i = 0; i < results.size(); ++i) {
      if (keep_in[i] != kNotKept) tokens_[keep_in[i]] = std::max(results[i].token, 0);
    }
  }
  void Copy(int32_t from, int32_t to) { tokens_[to] = tokens_[from]; }

 private:
  std::vector<TokenId> tokens_;  // [slots]
};

// A base class for such backends. See the concept Kernels for the contracts. A backend whose
// transfers run in the background hides AfterTransfers and Finish with its own.
struct HostSteps {
  using LastTokens = HostLastTokens;

  absl::StatusOr<LastTokens> AllocateLastTokens(int32_t slots) const { return LastTokens(slots); }
  void CopyLastToken(int32_t from, int32_t to, LastTokens& last_tokens) const {
    last_tokens.Copy(from, to);
  }
  bool Replays() const { return false; }
  absl::Status Record(int32_t, absl::FunctionRef<void()>) const { return absl::OkStatus(); }
  void Replay(int32_t, absl::FunctionRef<void()> operators) const { operators(); }
  void EndStep() const {}
  absl::Status WaitStep() const { return absl::OkStatus(); }
  void AfterTransfers(const std::function<void(const absl::Status&)>& done) const {
    done(absl::OkStatus());
  }
  absl::Status Finish() const { return absl::OkStatus(); }
};

}  // namespace retnet

#endif  // RETNET_KERNELS_HOST_STEPS_H_
