#include "server/server.h"

#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/mutex.h"
#include "kernels/status_macros.h"
#include "server/calls/admission.h"
#include "server/calls/metadata_limit.h"
#include "server/generation_service.h"
#include "server/ops/grpc_acceptor.h"
#include "server/ops/listener.h"
#include "server/ops/logging.h"
#include "server/ops/reset_limit.h"
#include "server/reflection_service.h"
#include "server/session_service.h"

namespace retnet {
namespace {

// A connection that has not greeted as HTTP/2 demands by then is closed: a port probe, or one that
// only holds a descriptor.
constexpr absl::Duration kGreeting = absl::Seconds(10);

int Milliseconds(absl::Duration duration) {
  return static_cast<int>(absl::ToInt64Milliseconds(duration));
}

}  // namespace

class Server::Impl {
 public:
  Impl(const ServerOptions& options, ServedModel model, Engine* engine, CallMetrics* metrics,
       std::function<void()> failed)
      : options_(options),
        engine_(engine),
        metrics_(metrics),
        failed_(std::move(failed)),
        admission_(options.max_metadata_bytes, options.streams),
        generation_(std::move(model),
                    {engine, metrics, [this] { StopServing("the model has failed"); }},
                    &admission_),
        sessions_(engine, &admission_),
        reflection_v1_(&admission_),
        reflection_v1alpha_(&admission_) {}

  ~Impl() { EndConnections(); }

  absl::Status Start() {
    ListenerOptions listening;
    listening.unacknowledged = options_.keepalive / 2;
    ASSIGN_OR_RETURN(Listener listener, Listener::Bind(options_.listen, listening));
    address_ = listener.address();
    // A process-wide switch of gRPC, for the servers built from now on.
    grpc::EnableDefaultHealthCheckService(true);
    grpc::ServerBuilder builder;
    Configure(&builder);
    acceptor_.emplace(std::move(listener), grpc::InsecureServerCredentials(), &builder);
    builder.RegisterService(&generation_);
    builder.RegisterService(&sessions_);
    builder.RegisterService(&reflection_v1_);
    builder.RegisterService(&reflection_v1alpha_);
    // So that a model that fails on the first call finds the health service.
    const MutexLock lock(&mu_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr) return absl::InternalError("gRPC cannot start a server");
    acceptor_->Start([this](const absl::Status& why) {
      StopServing(std::string(why.message()));
      if (failed_ != nullptr) failed_();
    });
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
    EndConnections();
    return engine_drained && calls_drained;
  }

 private:
  void EndConnections() {
    if (server_ == nullptr) return;
    acceptor_->Stop();
    server_->Shutdown(std::chrono::system_clock::now());
  }

  void Configure(grpc::ServerBuilder* builder) const {
    const int keepalive = Milliseconds(options_.keepalive);
    builder->SetMaxReceiveMessageSize(options_.max_message_bytes);
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>>
        interceptors;
    interceptors.push_back(std::make_unique<HealthMetadataLimit>(options_.max_metadata_bytes));
    interceptors.push_back(std::make_unique<ResetLimit>(options_.max_calls_per_connection));
    if (metrics_ != nullptr) interceptors.push_back(metrics_->Interceptor());
    builder->experimental().SetInterceptorCreators(std::move(interceptors));
    builder->AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMostMetadataBytes);
    // A few bytes can unpack to gigabytes, and gRPC bounds a message only when it is unpacked. A
    // compressed message gets UNIMPLEMENTED instead.
    builder->SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, /*enabled=*/false);
    builder->SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, /*enabled=*/false);
    builder->AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, Milliseconds(kGreeting));
    // Else gRPC lets a fast client send megabytes of a message that nobody has begun to read. A
    // message that is being read may come as fast as it can.
    builder->AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options_.max_calls_per_connection);
    // A peer that has vanished is noticed after keepalive and timeout, and its calls are cancelled.
    builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, keepalive);
    builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, keepalive / 2);
    builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    // Gateways ping idle connections too; nobody is dropped for up to one ping a second.
    builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1000);
  }

  void StopServing(absl::string_view why) {
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
  CallMetrics* const metrics_;          // may be null
  const std::function<void()> failed_;  // may be null
  std::string address_;                 // constant after Start

  Mutex mu_;
  bool serving_ ABSL_GUARDED_BY(mu_) = false;

  Admission admission_;
  GenerationService generation_;
  SessionService sessions_;
  ReflectionV1 reflection_v1_;
  ReflectionV1Alpha reflection_v1alpha_;
  std::unique_ptr<grpc::Server> server_;  // constant after Start; ends before the services
  std::optional<GrpcAcceptor> acceptor_;  // ends before the server
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options,
                                                      ServedModel model, Engine* engine,
                                                      CallMetrics* metrics,
                                                      std::function<void()> failed) {
  auto impl = std::make_unique<Impl>(options, std::move(model), engine, metrics, std::move(failed));
  RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

const std::string& Server::address() const { return impl_->address(); }

void Server::SetServiceHealth(const std::string& service, bool serving) {
  impl_->SetServiceHealth(service, serving);
}

bool Server::Drain(absl::Time deadline) { return impl_->Drain(deadline); }

}  // namespace retnet
