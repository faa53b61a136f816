// Runs requests on a model. One thread owns scheduler, sequences, slots and model. Callers reach it
// through an inbox.
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
#include "engine/store_event.h"
#include "models/model.h"

namespace retnet {

// Thread-safe. Everything but the destructor may be called from any thread, also from within a
// sink. Only Drain must not be called from a sink: it would wait for itself.
class Engine {
 public:
  // Starts the engine thread. With a `store`, a session is written to it after every
  // change, and read from it when it is not in memory. `listener`, which may be null, hears how the
  // store is.
  Engine(std::unique_ptr<Model> model, const EngineOptions& options,
         std::unique_ptr<SnapshotStore> store = nullptr, StoreListener listener = nullptr);
  // Cancels the remaining requests (OnFinish says CANCELLED) and joins the engine thread. Must not
  // be called from within a sink.
  ~Engine();

  // RESOURCE_EXHAUSTED when the queue is full; UNAVAILABLE while draining or after the model
  // failed; INVALID_ARGUMENT for a request that breaks a rule of Request, naming field, value and
  // bound. On OK the sink's OnFinish will be called.
  absl::StatusOr<RequestId> Submit(Request request, std::shared_ptr<TokenSink> sink);
  // Cancels the request within one step. No effect if it has ended.
  void Cancel(RequestId id);

  // Ends a generation within one step as finished (kStopped). Its session keeps the whole prompt
  // and the sampled tokens. No effect if it has ended.
  void Stop(RequestId id);

  // Calls on sessions. They run in the order in which they and the requests arrive. NOT_FOUND for a
  // key that names no session (not Create, List and Import). ABORTED if a request runs on the
  // session or, once, if another server went on with it. UNAVAILABLE while draining, after the
  // model failed, or if the store cannot be reached.
  //
  // ALREADY_EXISTS when the id is taken; RESOURCE_EXHAUSTED when max_kept_sessions is reached.
  void CreateSession(SessionSpec spec, Reply<SessionInfo> reply);
  void GetSession(SessionKey key, Reply<SessionInfo> reply);
  // Lists an owner's sessions in order of their ids: at most `limit` of those after `after`.
  void ListSessions(std::string owner, std::string after, int32_t limit,
                    Reply<std::vector<SessionInfo>> reply);
  // Makes sessions of the same owner with the same history and state. The engine chooses an id for
  // each empty one. Makes all of them or none.
  void ForkSession(SessionKey key, std::vector<std::string> ids,
                   Reply<std::vector<SessionInfo>> reply);
  // Removes the newest tokens of the history. The last remaining token becomes pending.
  // OUT_OF_RANGE if the history has fewer tokens.
  void RewindSession(SessionKey key, Rewind rewind, Reply<SessionInfo> reply);
  // Replies with the session as it was. Works while draining, too: what a call made that the drain
  // ends must not stay.
  void DeleteSession(SessionKey key, Reply<SessionInfo> reply);
  // Replies with the session's snapshot. EncodeSnapshot with snapshot_format() turns it into bytes.
  void ExportSession(SessionKey key, Reply<Snapshot> reply);
  // Makes a session of `spec` with the history and state of a snapshot.
  void ImportSession(SessionSpec spec, Snapshot snapshot, Reply<SessionInfo> reply);
  const SnapshotFormat& snapshot_format() const;

  // Refuses new requests and waits until the running ones finish or the deadline passes. Then
  // cancels the remaining ones (OnFinish says UNAVAILABLE). Then gives the store what it does not
  // have; stats() tells what could not be stored. Returns whether all finished.
  bool Drain(absl::Time deadline);

  EngineStats stats() const;
  // False once the model has failed. The engine then serves nothing any more.
  bool healthy() const;
  const ModelInfo& model_info() const;
  // The options as given to the constructor.
  const EngineOptions& options() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace retnet

#endif  // RETNET_ENGINE_ENGINE_H_
