#include "server/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "kernels/mutex.h"
#include "kernels/status_macros.h"
#include "server/calls/admission.h"
#include "server/generation_service.h"
#include "server/ops/listen_address.h"
#include "server/ops/logging.h"
#include "server/session_service.h"

namespace retnet {

class Server::Impl {
 public:
  Impl(const ServerOptions& options, ServedModel model, Engine* engine, CallMetrics* metrics)
      : options_(options),
        engine_(engine),
        metrics_(metrics),
        generation_(std::move(model),
                    {engine, metrics, [this] { StopServing("the model has failed"); }},
                    &admission_),
        sessions_(engine, &admission_) {}

  ~Impl() {
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
  }

  absl::Status Start() {
    ASSIGN_OR_RETURN(const ListenAddress listen, ParseListenAddress(options_.listen));
    // Process-wide switches of gRPC, for the servers built from now on.
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    Configure(&builder);
    int port = 0;
    builder.AddListeningPort(options_.listen, grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&generation_);
    builder.RegisterService(&sessions_);
    // So that a model that fails on the first call finds the health service.
    const MutexLock lock(&mu_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port <= 0) {
      return absl::FailedPreconditionError(
          absl::StrCat("cannot listen on ", options_.listen,
                       ": the port is in use or the address is not this machine's; choose another "
                       "with --listen HOST:PORT (port 0: any free one)"));
    }
    address_ = absl::StrCat(listen.host, ":", port);
    SetHealth(true);
    return absl::OkStatus();
  }

  const std::string& address() const { return address_; }

  void SetServiceHealth(const std::string& service, bool serving) {
    const MutexLock lock(&mu_);
    server_->GetHealthCheckService()->SetServingStatus(service, serving);
  }

  bool Drain(absl::Time deadline) {
    StopServing("draining");
    admission_.Refuse();
    const bool engine_drained = engine_->Drain(deadline);
    // Readers may be slower than the engine.
    const bool calls_drained = admission_.in_flight_calls().WaitUntilNone(deadline);
    // What has been written still leaves; calls that are left end now.
    server_->Shutdown(std::chrono::system_clock::now());
    return engine_drained && calls_drained;
  }

 private:
  void Configure(grpc::ServerBuilder* builder) const {
    const int keepalive = static_cast<int>(absl::ToInt64Milliseconds(options_.keepalive));
    builder->SetMaxReceiveMessageSize(options_.max_message_bytes);
    if (metrics_ != nullptr) {
      builder->experimental().SetInterceptorCreators(metrics_->Interceptors());
    }
    // A second server on the port is an error, not a sharer of its connections.
    builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options_.max_calls_per_connection);
    // A peer that has vanished is noticed after keepalive and timeout, and its calls are cancelled.
    builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, keepalive);
    builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, keepalive / 2);
    builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    // Gateways ping idle connections too; nobody is dropped for up to one ping a second.
    builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1000);
  }

  void StopServing(const char* why) {
    const MutexLock lock(&mu_);
    if (!serving_) return;
    Log(LogLevel::kWarning, absl::StrCat("not serving any more: ", why));
    SetHealth(false);
  }

  void SetHealth(bool serving) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    serving_ = serving;
    grpc::HealthCheckServiceInterface* health = server_->GetHealthCheckService();
    health->SetServingStatus("", serving);
    health->SetServingStatus(v1::Generation::service_full_name(), serving);
    health->SetServingStatus(v1::Sessions::service_full_name(), serving);
  }

  const ServerOptions options_;
  Engine* const engine_;
  CallMetrics* const metrics_;  // may be null
  std::string address_;         // constant after Start

  Mutex mu_;
  bool serving_ ABSL_GUARDED_BY(mu_) = false;

  Admission admission_;
  GenerationService generation_;
  SessionService sessions_;
  std::unique_ptr<grpc::Server> server_;  // constant after Start; ends before the services
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options,
                                                      ServedModel model, Engine* engine,
                                                      CallMetrics* metrics) {
  auto impl = std::make_unique<Impl>(options, std::move(model), engine, metrics);
  RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

const std::string& Server::address() const { return impl_->address(); }

void Server::SetServiceHealth(const std::string& service, bool serving) {
  impl_->SetServiceHealth(service, serving);
}

bool Server::Drain(absl::Time deadline) { return impl_->Drain(deadline); }

}  // namespace retnet
