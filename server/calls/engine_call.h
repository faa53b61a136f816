// One call of a client that runs on the engine: its samples are submitted, answered, ended and
// cancelled together. Knows no gRPC.
#ifndef RETNET_SERVER_CALLS_ENGINE_CALL_H_
#define RETNET_SERVER_CALLS_ENGINE_CALL_H_

#include <functional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/engine.h"
#include "engine/request.h"
#include "engine/session_key.h"
#include "server/calls/open_call.h"
#include "server/ops/call_metrics.h"

namespace retnet {

// What calls run on.
struct EngineAccess {
  Engine* engine = nullptr;
  CallMetrics* metrics = nullptr;  // null: nothing is measured
  // Called when the engine is found to be no longer healthy: on any thread, several times.
  std::function<void()> model_failed;
};

// Held by the engine's sinks too, until their OnFinish. Submit or Refuse is called once, and again only
// after AllEnded; Cancel at any time and from any thread.
class EngineCall : public OpenCall {
 public:
  // Submits the requests, at least one; the i-th is sample i, and all have the prompt of the first.
  // When one is refused or fails, the others are cancelled and the call ends with its status.
  // `access` outlives the call.
  void Submit(const EngineAccess* access, std::vector<Request> requests);
  // Before Submit: this session was made for the call and goes with it when it fails.
  void DeleteOnFailure(SessionKey session);
  // Ends the call without the engine; instead of Submit.
  void Refuse(const absl::Status& status);
  // Ends what runs, within a step of the model.
  void Cancel();

 protected:
  using OpenCall::OpenCall;

  // Ends what runs as finished, within a step of the model.
  void StopSamples() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // All are called on the engine thread but for an AllEnded of a call that was refused.
  virtual void Answered(int sample, std::span<const SampleResult> answers)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) = 0;
  virtual void Ended(int sample, const Completion& completion)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) = 0;
  // The last one of a Submit or Refuse, exactly once: all samples have ended, or the status is not
  // OK.
  virtual void AllEnded(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) = 0;

 private:
  class Sink;
  void SampleEnded(int sample, const Completion& completion);
  // So many samples fewer are open.
  void EndSamples(int samples) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CancelSubmitted();

  const EngineAccess* access_ ABSL_GUARDED_BY(mu_) = nullptr;
  std::vector<RequestId> submitted_ ABSL_GUARDED_BY(mu_);
  int open_ ABSL_GUARDED_BY(mu_) = 0;     // samples that have not ended
  SessionKey made_ ABSL_GUARDED_BY(mu_);  // goes with a call that fails; no id: none
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mu_);  // the first error
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_ENGINE_CALL_H_
