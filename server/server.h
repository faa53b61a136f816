// The gRPC server with its services, health and reflection, from start to drain.
#ifndef RETNET_SERVER_SERVER_H_
#define RETNET_SERVER_SERVER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/engine.h"
#include "server/calls/stream_limits.h"
#include "server/identity/identity.h"
#include "server/ops/call_metrics.h"
#include "server/wire/request_translation.h"

namespace retnet {

struct ServerOptions {
  std::string listen = "127.0.0.1:50051";  // HOST:PORT (port 0: any free port) or unix:PATH
  std::string private_listen;              // the same, without TLS and authentication; empty: none
  IdentityOptions identity;
  int32_t max_message_bytes = 64 << 20;   // of a request
  int32_t max_metadata_bytes = 64 << 10;  // of a request, as CheckMetadata counts them
  StreamLimits streams;
  int32_t max_calls_per_connection = 1024;  // more of them wait in the client
  absl::Duration keepalive =
      absl::Seconds(20);  // interval of keepalive pings on an idle connection
};

// Thread-safe. The engine, the metrics and the model's tokenizer must outlive it.
class Server {
 public:
  // Starts serving. FAILED_PRECONDITION if an address cannot be used, INVALID_ARGUMENT if a file of
  // tokens or certificates is wrong. `metrics` may be null. If the
  // server cannot accept connections any more, health turns to NOT_SERVING and `failed` is called,
  // on another thread.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options,
                                                       ServedModel model, Engine* engine,
                                                       CallMetrics* metrics = nullptr,
                                                       std::function<void()> failed = nullptr);
  // Ends every call at once.
  ~Server();

  // HOST:PORT with the port in use, or unix:PATH.
  const std::string& address() const;
  // The same of the private listener; "" without one.
  std::string private_address() const;

  // Reads tokens and certificates again. Each file that is wrong keeps its old content; the first
  // error is returned.
  absl::Status ReloadIdentity();

  // Sets what the health service says of a service that is not one of gRPC's. Before that it is
  // unknown.
  void SetServiceHealth(const std::string& service, bool serving);

  // Sets health to NOT_SERVING and refuses new calls. Running calls may finish until the deadline
  // and are then ended. Returns whether all calls finished. Call this once.
  bool Drain(absl::Time deadline);

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace retnet

#endif  // RETNET_SERVER_SERVER_H_
