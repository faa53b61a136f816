// One call of a client that runs on the engine: its samples are submitted, answered, ended and
// cancelled together. Knows no gRPC.
#ifndef RETNET_SERVER_ENGINE_CALL_H_
#define RETNET_SERVER_ENGINE_CALL_H_

#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/engine.h"
#include "engine/request.h"
#include "server/open_calls.h"

namespace retnet {

// Lives in a std::shared_ptr, held by itself from Open to Close and by the engine's sinks until
// their Done. Submit or Refuse is called once, Cancel at any time and from any thread.
class EngineCall : public std::enable_shared_from_this<EngineCall> {
 public:
  EngineCall(const EngineCall&) = delete;
  virtual ~EngineCall() = default;

  // Before the call is given to gRPC, and when gRPC is done with it. In between it counts as open.
  void Open();
  void Close();

  // Submits the requests, at least one; the i-th is sample i. When one is refused or fails, the
  // others are cancelled and the call ends with its status. `model_failed` is called when the
  // engine is no longer healthy; it may be called on any thread, several times.
  void Submit(Engine* engine, std::vector<Request> requests, std::function<void()> model_failed);
  // Ends the call without the engine; instead of Submit.
  void Refuse(const absl::Status& status);
  // Ends what runs, within a step of the model.
  void Cancel();

 protected:
  explicit EngineCall(OpenCalls* open_calls) : open_calls_(open_calls) {}

  // All are called with mu_ held, on the engine thread but for an AllEnded of a call that was
  // refused.
  virtual void Answered(int sample, std::span<const LogitsAnswer> answers) = 0;
  virtual void Ended(int sample, const Completion& completion) = 0;
  // The last one, exactly once: all samples have ended, or the status is not OK.
  virtual void AllEnded(const absl::Status& status) = 0;

  std::mutex mu_;

 private:
  class Sink;
  void SampleEnded(int sample, const Completion& completion);
  // With mu_ held: so many samples fewer are open.
  void EndSamples(int samples);
  void CancelSubmitted();

  OpenCalls* const open_calls_;
  std::shared_ptr<EngineCall> self_;  // guarded by mu_, as all below
  Engine* engine_ = nullptr;
  std::function<void()> model_failed_;
  std::vector<RequestId> submitted_;
  int open_ = 0;  // samples that have not ended
  bool cancelled_ = false;
  absl::Status status_;  // the first error
};

}  // namespace retnet

#endif  // RETNET_SERVER_ENGINE_CALL_H_
