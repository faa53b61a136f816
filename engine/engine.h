// Runs requests on a model: one thread that owns scheduler, sequences, slots and model, fed by an
// inbox.
#ifndef RETNET_ENGINE_ENGINE_H_
#define RETNET_ENGINE_ENGINE_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/request.h"
#include "engine/stats.h"
#include "models/model.h"

namespace retnet {

struct EngineOptions {
  int32_t max_queue = 256;             // requests accepted and waiting for a slot
  int32_t max_context_length = 32768;  // prompt and output of one generation together
  int32_t max_step_rows = 0;  // row budget of a step; 0, or more than it: the model's max_rows
  // What a step may take that holds decoding sequences and prompts; but prompts may always make it
  // half again as long as it would be without them.
  absl::Duration max_step = absl::Milliseconds(50);
};

// Thread-safe: everything but the destructor may be called from any thread, from within a sink too
// (but Drain there would wait for itself).
class Engine {
 public:
  // Starts the engine thread.
  Engine(std::unique_ptr<Model> model, const EngineOptions& options);
  // Cancels what is left (their Done says CANCELLED) and joins the engine thread. Not from within a
  // sink.
  ~Engine();

  // RESOURCE_EXHAUSTED when the queue is full; UNAVAILABLE while draining or after the model
  // failed; INVALID_ARGUMENT for a request that breaks a rule of Request, naming field, value and
  // bound. On OK the sink's Done will be called.
  absl::StatusOr<RequestId> Submit(Request request, std::shared_ptr<TokenSink> sink);
  // Ends the request within a step; no effect when it has ended.
  void Cancel(RequestId id);

  // Refuses new requests from now on and waits until the running ones have finished or the deadline
  // has come, then cancels what is left (their Done says UNAVAILABLE). Returns whether all had
  // finished.
  bool Drain(absl::Time deadline);

  EngineStats stats() const;
  // False once the model has failed: nothing will be served any more.
  bool healthy() const;
  const ModelInfo& model_info() const;
  // As given, with the row budget resolved.
  const EngineOptions& options() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace retnet

#endif  // RETNET_ENGINE_ENGINE_H_
