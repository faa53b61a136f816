// A principal: somebody that calls the server, known by a token or a certificate, and what it may
// ask for at once.
#ifndef RETNET_SERVER_IDENTITY_PRINCIPAL_H_
#define RETNET_SERVER_IDENTITY_PRINCIPAL_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "kernels/mutex.h"
#include "server/identity/token_file.h"

namespace retnet {

// Tokens are counted in a bucket. It holds the tokens of one minute at most, and fills at the
// principal's rate. A request may begin while the bucket is not empty, and takes what it needs: its
// prompt at once, its answer as it comes. So the bucket may fall below zero, and the next request
// waits until that is paid back. Thread-safe; its lock is taken last.
class Principal {
 public:
  explicit Principal(std::string name, const PrincipalLimits& limits = {});

  const std::string& name() const { return name_; }
  double weight() const;
  // Of requests from now on. What has been used still counts.
  void SetLimits(const PrincipalLimits& limits);

  // RESOURCE_EXHAUSTED, with the bound and when to try again, if no request may begin now. Ask this
  // before work on a request, Begin decides.
  absl::Status Check(absl::Time now = absl::Now());
  // The priority of a request that sets none (0) or this one. INVALID_ARGUMENT if that is too
  // great.
  absl::Status FitPriority(int32_t* priority) const;
  // Begins a request of so many samples and prompt tokens. After an OK, End must be called for each
  // sample. RESOURCE_EXHAUSTED as above.
  absl::Status Begin(int32_t samples, int64_t prompt_tokens, absl::Time now = absl::Now());
  void End(int32_t samples);
  // Takes tokens out of the bucket. Below 0: gives them back.
  void Spend(int64_t tokens, absl::Time now = absl::Now());

 private:
  absl::Status CheckBounds(int32_t samples, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Fill(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::string name_;
  mutable Mutex mu_;
  PrincipalLimits limits_ ABSL_GUARDED_BY(mu_);
  int32_t requests_ ABSL_GUARDED_BY(mu_) = 0;  // begun and not ended
  double bucket_ ABSL_GUARDED_BY(mu_);         // tokens, as of filled_
  absl::Time filled_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
};

}  // namespace retnet

#endif  // RETNET_SERVER_IDENTITY_PRINCIPAL_H_
