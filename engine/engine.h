// Runs requests on a model: one thread that owns scheduler, sequences, slots and model, fed by an
// inbox.
#ifndef RETNET_ENGINE_ENGINE_H_
#define RETNET_ENGINE_ENGINE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/options.h"
#include "engine/request.h"
#include "engine/session.h"
#include "engine/snapshots/snapshot.h"
#include "engine/snapshots/snapshot_store.h"
#include "engine/stats.h"
#include "models/model.h"

namespace retnet {

// Thread-safe: everything but the destructor may be called from any thread, from within a sink too
// (but Drain there would wait for itself).
class Engine {
 public:
  // Starts the engine thread. Sessions are written to `store`, if there is one, whenever a request
  // on them ends, and read from it when they are asked for.
  Engine(std::unique_ptr<Model> model, const EngineOptions& options,
         std::unique_ptr<SnapshotStore> store = nullptr);
  // Cancels what is left (their OnFinish says CANCELLED) and joins the engine thread. Not from within a
  // sink.
  ~Engine();

  // RESOURCE_EXHAUSTED when the queue is full; UNAVAILABLE while draining or after the model
  // failed; INVALID_ARGUMENT for a request that breaks a rule of Request, naming field, value and
  // bound. On OK the sink's OnFinish will be called.
  absl::StatusOr<RequestId> Submit(Request request, std::shared_ptr<TokenSink> sink);
  // Ends the request within a step; no effect when it has ended.
  void Cancel(RequestId id);

  // Ends a generation within a step as finished (kStopped): its session keeps the whole prompt and
  // what was sampled. No effect when it has ended.
  void Stop(RequestId id);

  // Calls on sessions, in the order of arrival, those of requests included. All but Create and
  // Import are NOT_FOUND for a key that names no session; ABORTED where a running request is in the
  // way; UNAVAILABLE when the model has failed.
  //
  // ALREADY_EXISTS when the id is taken; RESOURCE_EXHAUSTED when max_kept_sessions is reached.
  void CreateSession(SessionSpec spec, Reply<SessionInfo> reply);
  void GetSession(SessionKey key, Reply<SessionInfo> reply);
  // Of one owner, by id: at most `limit` of those after `after`.
  void ListSessions(std::string owner, std::string after, int32_t limit,
                    Reply<std::vector<SessionInfo>> reply);
  // Makes sessions of the same owner with the same history and state; an empty id is made. All or
  // none.
  void ForkSession(SessionKey key, std::vector<std::string> ids,
                   Reply<std::vector<SessionInfo>> reply);
  // Forgets the newest tokens of the history; the last that is left becomes pending. OUT_OF_RANGE
  // for more than there are.
  void RewindSession(SessionKey key, Rewind rewind, Reply<SessionInfo> reply);
  // The answer is the session as it was.
  void DeleteSession(SessionKey key, Reply<SessionInfo> reply);
  // The session as it stands; EncodeSnapshot with snapshot_format() makes bytes of it.
  void ExportSession(SessionKey key, Reply<Snapshot> reply);
  // A session of `spec` with history and state of a snapshot that DecodeSnapshot has read.
  void ImportSession(SessionSpec spec, Snapshot snapshot, Reply<SessionInfo> reply);
  const SnapshotFormat& snapshot_format() const;

  // Refuses new requests from now on and waits until the running ones have finished or the deadline
  // has come, then cancels what is left (their OnFinish says UNAVAILABLE). Returns whether all had
  // finished.
  bool Drain(absl::Time deadline);

  EngineStats stats() const;
  // False once the model has failed: nothing will be served any more.
  bool healthy() const;
  const ModelInfo& model_info() const;
  // As given.
  const EngineOptions& options() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace retnet

#endif  // RETNET_ENGINE_ENGINE_H_
