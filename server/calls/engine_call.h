// A client's call that runs on the engine. Its samples are submitted and cancelled together. Knows
// nothing of gRPC.
#ifndef RETNET_SERVER_CALLS_ENGINE_CALL_H_
#define RETNET_SERVER_CALLS_ENGINE_CALL_H_

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/engine.h"
#include "engine/request.h"
#include "engine/session_key.h"
#include "server/calls/open_call.h"
#include "server/identity/principal.h"
#include "server/ops/call_metrics.h"
#include "server/text/text_limits.h"

namespace retnet {

// What a call needs to run.
struct EngineAccess {
  Engine* engine = nullptr;
  CallMetrics* metrics = nullptr;  // null: no metrics
  // Called when the engine is no longer healthy. May be called on any thread and several times.
  std::function<void()> model_failed;
};

// The engine's sinks hold a reference until their OnFinish. Call Submit or Refuse once, and again
// only after AllEnded. Cancel may be called at any time from any thread.
class EngineCall : public OpenCall {
 public:
  // Whose limits hold for the call. Call this before Submit; null, as without it, means nobody's.
  void ChargeTo(std::shared_ptr<Principal> principal);
  // What the call's message and prompt take, for as long as the call lives: until its end both wait
  // with it, in gRPC and in the engine's queue. Call this before Submit.
  void Keep(TextBudget::Hold hold);
  // Submits at least one request. Request i is sample i. All have the same prompt. If one is
  // refused or fails, the others are cancelled and the call ends with its status. So it does where
  // the principal's limits do not let them begin. `access` must outlive the call.
  void Submit(const EngineAccess* access, std::vector<Request> requests);
  // Deletes `session` if the call fails, because it was made for this call. Call this before
  // Submit.
  void DeleteOnFailure(SessionKey session);
  // Ends the call with an error, instead of Submit.
  void Refuse(const absl::Status& status);
  // Cancels the running samples within one step of the model.
  void Cancel();
  // Whether Cancel has been called: what is still to be done for the call need not be done.
  bool cancelled();

 protected:
  using OpenCall::OpenCall;

  // Ends the running samples as finished, within one step of the model.
  void StopSamples() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Ends the running samples with this error, within one step of the model.
  void FailSamples(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // These are called on the engine thread. Only AllEnded of a refused call may come on another one.
  virtual void Answered(int sample, std::span<const SampleResult> answers)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) = 0;
  virtual void Ended(int sample, const Completion& completion)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) = 0;
  // Asked when all samples have ended well: the error that the call ends with all the same, or OK.
  virtual absl::Status CheckAnswer() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return absl::OkStatus(); }
  // The last callback after Submit or Refuse, exactly once. Either all samples have ended or the
  // status is not OK.
  virtual void AllEnded(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) = 0;

 private:
  class Sink;
  void SampleEnded(int sample, const Completion& completion);
  // Counts `samples` samples as ended.
  void EndSamples(int samples) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The end of the call's requests, with status_.
  void Conclude() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CancelSubmitted();

  const EngineAccess* access_ ABSL_GUARDED_BY(mu_) = nullptr;
  std::shared_ptr<Principal> principal_ ABSL_GUARDED_BY(mu_);  // null: no limits
  TextBudget::Hold hold_ ABSL_GUARDED_BY(mu_);
  std::vector<RequestId> submitted_ ABSL_GUARDED_BY(mu_);
  int open_ ABSL_GUARDED_BY(mu_) = 0;     // samples that have not ended
  SessionKey made_ ABSL_GUARDED_BY(mu_);  // deleted if the call fails; without an id: none
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mu_);  // the first error
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_ENGINE_CALL_H_
