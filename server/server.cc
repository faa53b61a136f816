#include "server/server.h"

#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/mutex.h"
#include "kernels/status_macros.h"
#include "server/calls/admission.h"
#include "server/calls/metadata_limit.h"
#include "server/generation_service.h"
#include "server/identity/identity.h"
#include "server/identity/private_listener.h"
#include "server/ops/grpc_acceptor.h"
#include "server/ops/listen_address.h"
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

// Says what anybody in the network can do with the server, so that nobody opens it without knowing.
absl::Status WarnOfOpenListeners(const ServerOptions& options) {
  ASSIGN_OR_RETURN(const ListenAddress listen, ParseListenAddress(options.listen));
  const IdentityOptions& identity = options.identity;
  const bool encrypted = !identity.tls.certificate.empty();
  const bool authenticated = !identity.auth_tokens.empty() || !identity.tls.client_ca.empty();
  if (!IsLoopback(listen) && !authenticated) {
    Log(LogLevel::kWarning,
        absl::StrCat("--listen ", options.listen,
                     " is open beyond this machine, and whoever "
                     "reaches it may use the server and all sessions; --auth-tokens or "
                     "--tls-client-ca lets only those in who are known"));
  } else if (!IsLoopback(listen) && !encrypted) {
    Log(LogLevel::kWarning,
        absl::StrCat("--listen ", options.listen,
                     " is open beyond this machine, and tokens and "
                     "texts go over the network in the clear; encrypt them with --tls-cert and "
                     "--tls-key, or by a proxy in front"));
  }
  if (options.private_listen.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const ListenAddress inner, ParseListenAddress(options.private_listen));
  if (!IsLoopback(inner)) {
    Log(LogLevel::kWarning,
        absl::StrCat("--private-listen ", options.private_listen,
                     " is open beyond this machine "
                     "and asks nobody for a name; let only your gateway reach it"));
  }
  return absl::OkStatus();
}

}  // namespace

class Server::Impl {
 public:
  Impl(const ServerOptions& options, std::unique_ptr<Identity> identity, ServedModel model,
       Engine* engine, CallMetrics* metrics, std::function<void()> failed)
      : options_(options),
        identity_(std::move(identity)),
        engine_(engine),
        metrics_(metrics),
        failed_(std::move(failed)),
        admission_(options.max_metadata_bytes, options.streams, identity_->authenticator()),
        generation_(std::move(model),
                    {engine, metrics, [this] { StopServing("the model has failed"); }},
                    &admission_),
        sessions_(engine, &admission_),
        reflection_v1_(&admission_),
        reflection_v1alpha_(&admission_) {}

  ~Impl() { EndConnections(); }

  absl::Status Start() {
    // A process-wide switch of gRPC, for the servers built from now on.
    grpc::EnableDefaultHealthCheckService(true);
    // So that a model that fails on the first call finds the health service.
    const MutexLock lock(&mu_);
    RETURN_IF_ERROR(Listen({}, options_.listen, identity_->Credentials(), {}));
    if (!options_.private_listen.empty()) {
      ListenerOptions listening;
      listening.flag = "--private-listen";
      std::vector<std::unique_ptr<InterceptorFactory>> interceptors;
      interceptors.push_back(std::make_unique<PrivateMark>());
      RETURN_IF_ERROR(Listen(listening, options_.private_listen, grpc::InsecureServerCredentials(),
                             std::move(interceptors)));
    }
    for (Endpoint& endpoint : endpoints_) {
      endpoint.acceptor->Start([this](const absl::Status& why) {
        StopServing(std::string(why.message()));
        if (failed_ != nullptr) failed_();
      });
    }
    SetHealth(true);
    return absl::OkStatus();
  }

  const std::string& address() const { return endpoints_.front().acceptor->address(); }
  std::string private_address() const {
    return endpoints_.size() > 1 ? endpoints_.back().acceptor->address() : "";
  }
  absl::Status ReloadIdentity() { return identity_->Reload(); }

  void SetServiceHealth(const std::string& service, bool serving) {
    const MutexLock lock(&mu_);
    SetHealthOf(service, serving);
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
  using InterceptorFactory = grpc::experimental::ServerInterceptorFactoryInterface;
  // A listener and the gRPC server behind it. All servers have the same services.
  struct Endpoint {
    std::unique_ptr<grpc::Server> server;
    std::unique_ptr<GrpcAcceptor> acceptor;  // ends before the server
  };

  // Adds an endpoint, which does not accept connections yet.
  absl::Status Listen(ListenerOptions listening, const std::string& address,
                      std::shared_ptr<grpc::ServerCredentials> credentials,
                      std::vector<std::unique_ptr<InterceptorFactory>> interceptors)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    listening.unacknowledged = options_.keepalive / 2;
    ASSIGN_OR_RETURN(Listener listener, Listener::Bind(address, listening));
    grpc::ServerBuilder builder;
    Configure(std::move(interceptors), &builder);
    Endpoint endpoint;
    endpoint.acceptor =
        std::make_unique<GrpcAcceptor>(std::move(listener), std::move(credentials), &builder);
    builder.RegisterService(&generation_);
    builder.RegisterService(&sessions_);
    builder.RegisterService(&reflection_v1_);
    builder.RegisterService(&reflection_v1alpha_);
    endpoint.server = builder.BuildAndStart();
    if (endpoint.server == nullptr) return absl::InternalError("gRPC cannot start a server");
    endpoints_.push_back(std::move(endpoint));
    return absl::OkStatus();
  }

  void EndConnections() {
    for (Endpoint& endpoint : endpoints_) endpoint.acceptor->Stop();
    for (Endpoint& endpoint : endpoints_) {
      endpoint.server->Shutdown(std::chrono::system_clock::now());
    }
  }

  void Configure(std::vector<std::unique_ptr<InterceptorFactory>> interceptors,
                 grpc::ServerBuilder* builder) const {
    const int keepalive = Milliseconds(options_.keepalive);
    builder->SetMaxReceiveMessageSize(options_.max_message_bytes);
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
    SetHealthOf("", serving);
    SetHealthOf(v1::Generation::service_full_name(), serving);
    SetHealthOf(v1::Sessions::service_full_name(), serving);
  }

  void SetHealthOf(const std::string& service, bool serving) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    for (const Endpoint& endpoint : endpoints_) {
      endpoint.server->GetHealthCheckService()->SetServingStatus(service, serving);
    }
  }

  const ServerOptions options_;
  const std::unique_ptr<Identity> identity_;
  Engine* const engine_;
  CallMetrics* const metrics_;          // may be null
  const std::function<void()> failed_;  // may be null

  Mutex mu_;
  bool serving_ ABSL_GUARDED_BY(mu_) = false;

  Admission admission_;
  GenerationService generation_;
  SessionService sessions_;
  ReflectionV1 reflection_v1_;
  ReflectionV1Alpha reflection_v1alpha_;
  std::vector<Endpoint> endpoints_;  // constant after Start; ends before the services
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options,
                                                      ServedModel model, Engine* engine,
                                                      CallMetrics* metrics,
                                                      std::function<void()> failed) {
  ASSIGN_OR_RETURN(std::unique_ptr<Identity> identity, Identity::Open(options.identity));
  RETURN_IF_ERROR(WarnOfOpenListeners(options));
  auto impl = std::make_unique<Impl>(options, std::move(identity), std::move(model), engine,
                                     metrics, std::move(failed));
  RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

const std::string& Server::address() const { return impl_->address(); }
std::string Server::private_address() const { return impl_->private_address(); }
absl::Status Server::ReloadIdentity() { return impl_->ReloadIdentity(); }

void Server::SetServiceHealth(const std::string& service, bool serving) {
  impl_->SetServiceHealth(service, serving);
}

bool Server::Drain(absl::Time deadline) { return impl_->Drain(deadline); }

}  // namespace retnet
