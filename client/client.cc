#include "client/client.h"

#include <google/protobuf/stubs/logging.h>
#include <grpcpp/support/channel_arguments.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <utility>

namespace retnet {
namespace {

constexpr std::chrono::seconds kConnectTimeout(10);
// Ends the interrupt thread.
constexpr int kEndSignal = SIGUSR1;

sigset_t Signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, kEndSignal);
  return signals;
}

}  // namespace

std::string CodeName(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::OK:
      return "OK";
    case grpc::StatusCode::CANCELLED:
      return "CANCELLED";
    case grpc::StatusCode::INVALID_ARGUMENT:
      return "INVALID_ARGUMENT";
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return "DEADLINE_EXCEEDED";
    case grpc::StatusCode::NOT_FOUND:
      return "NOT_FOUND";
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return "RESOURCE_EXHAUSTED";
    case grpc::StatusCode::FAILED_PRECONDITION:
      return "FAILED_PRECONDITION";
    case grpc::StatusCode::ALREADY_EXISTS:
      return "ALREADY_EXISTS";
    case grpc::StatusCode::ABORTED:
      return "ABORTED";
    case grpc::StatusCode::OUT_OF_RANGE:
      return "OUT_OF_RANGE";
    case grpc::StatusCode::DATA_LOSS:
      return "DATA_LOSS";
    case grpc::StatusCode::UNIMPLEMENTED:
      return "UNIMPLEMENTED";
    case grpc::StatusCode::INTERNAL:
      return "INTERNAL";
    case grpc::StatusCode::UNAUTHENTICATED:
      return "UNAUTHENTICATED";
    case grpc::StatusCode::PERMISSION_DENIED:
      return "PERMISSION_DENIED";
    case grpc::StatusCode::UNAVAILABLE:
      return "UNAVAILABLE";
    default:
      return "code " + std::to_string(code);
  }
}

void AvoidProxyOnLoopback(const std::string& target, grpc::ChannelArguments* arguments) {
  std::string host = target;
  for (const std::string scheme : {"dns:", "ipv4:", "ipv6:"}) {
    if (host.starts_with(scheme)) host.erase(0, scheme.size());
  }
  host.erase(0, std::min(host.find_first_not_of('/'), host.size()));  // of dns:///HOST:PORT
  const bool loopback = host.starts_with("127.") || host.starts_with("[::1]") ||
                        host.starts_with("[::ffff:127.") || host == "localhost" ||
                        host.starts_with("localhost:") || target.starts_with("unix");
  if (loopback) arguments->SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
}

Client::Client(const ClientOptions& options, Access access)
    : options_(options), access_(std::move(access)) {
  const sigset_t signals = Signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // Texts that are not UTF-8 are sent all the same; the server's answer says more than protobuf's
  // log.
  google::protobuf::SetLogHandler(nullptr);
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  AvoidProxyOnLoopback(options.target, &arguments);
  channel_ = NewChannel(options.target, access_, arguments);
  if (options.timeout_seconds > 0) {
    context_.set_deadline(std::chrono::system_clock::now() +
                          std::chrono::milliseconds(int64_t(options.timeout_seconds * 1000)));
  }
  interrupt_ = std::thread([this, signals] {
    int signal = 0;
    do {
      sigwait(&signals, &signal);
      if (signal != SIGINT) return;
    } while (Interrupt());
    sigset_t interrupt;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    pthread_sigmask(SIG_UNBLOCK, &interrupt, nullptr);
    sigset_t end = signals;
    sigdelset(&end, SIGINT);
    sigwait(&end, &signal);
  });
}

Client::~Client() {
  pthread_kill(interrupt_.native_handle(), kEndSignal);
  interrupt_.join();
}

bool Client::Interrupt() {
  const MutexLock lock(&mu_);
  if (intercept_ != nullptr && intercept_()) return true;
  interrupted_ = true;
  context_.TryCancel();
  if (on_interrupt_ != nullptr) on_interrupt_();
  return false;
}

void Client::InterceptInterrupts(std::function<bool()> handler) {
  const MutexLock lock(&mu_);
  intercept_ = std::move(handler);
}

void Client::OnInterrupt(std::function<void()> action) {
  const MutexLock lock(&mu_);
  on_interrupt_ = std::move(action);
}

bool Client::Connect() {
  const auto deadline = std::chrono::system_clock::now() + kConnectTimeout;
  grpc_connectivity_state state = channel_->GetState(/*try_to_connect=*/true);
  while (state == GRPC_CHANNEL_IDLE || state == GRPC_CHANNEL_CONNECTING) {
    if (!channel_->WaitForStateChange(state, deadline)) break;
    state = channel_->GetState(/*try_to_connect=*/true);
  }
  if (state == GRPC_CHANNEL_READY) return true;
  std::cerr << "retnet: cannot reach " << options_.target
            << "; is retnetd running there? (--target HOST:PORT names another one)"
            << (access_.tls ? " Does it use TLS, with a certificate for this name of a CA that "
                              "--tls-ca names, and does it accept --tls-cert?\n"
                            : " If it uses TLS, name its CA with --tls-ca FILE.\n");
  return false;
}

ExitCode Client::Report(const grpc::Status& status) {
  if (status.ok()) return kExitOk;
  if (interrupted_) {
    const sigset_t signals = Signals();
    pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
    raise(SIGINT);
  }
  std::cerr << "retnet: " << CodeName(status.error_code()) << ": " << status.error_message()
            << "\n";
  // A server that refuses keeps its connection; one that has gone does not.
  const bool gone = status.error_code() == grpc::StatusCode::UNAVAILABLE &&
                    channel_->GetState(/*try_to_connect=*/false) != GRPC_CHANNEL_READY;
  return gone ? kExitUnreachable : kExitRefused;
}

}  // namespace retnet
