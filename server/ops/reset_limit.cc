#include "server/ops/reset_limit.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <grpcpp/server_context.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/ops/file_descriptor.h"
#include "server/ops/logging.h"

namespace retnet {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::ServerRpcInfo;

constexpr absl::Duration kLogInterval = absl::Seconds(10);

// The address of a socket's other side as grpc::ServerContext::peer() has it; empty if it has none.
std::string PeerOf(int socket) {
  sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  char text[INET6_ADDRSTRLEN] = "";
  if (getpeername(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "";
  if (address.ss_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address);
    inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
    return absl::StrCat("ipv4:", text, ":", ntohs(v4->sin_port));
  }
  if (address.ss_family != AF_INET6) return "";
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address);
  if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
    inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], text, sizeof(text));
    return absl::StrCat("ipv4:", text, ":", ntohs(v6->sin6_port));
  }
  inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
  return absl::StrCat("ipv6:%5B", text, "%5D:", ntohs(v6->sin6_port));
}

}  // namespace

// gRPC owns the descriptors of its connections and tells nobody their numbers. So this looks for
// the one, which happens to an attacker alone.
void CutConnection(const std::string& peer) {
  const std::unique_ptr<DIR, int (*)(DIR*)> all(opendir("/proc/self/fd"), closedir);
  if (all == nullptr) return;
  while (const dirent* entry = readdir(all.get())) {
    // A copy stays the same connection, whatever others do to the number meanwhile.
    const FileDescriptor copy(fcntl(std::atoi(entry->d_name), F_DUPFD_CLOEXEC, 0));
    if (!copy.valid() || PeerOf(copy.get()) != peer) continue;
    // When gRPC closes it, the client is told so at once, and nothing more is waited for.
    const linger reset = {/*l_onoff=*/1, /*l_linger=*/0};
    setsockopt(copy.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    shutdown(copy.get(), SHUT_RDWR);
    return;
  }
}

// Of one call. gRPC calls it on several threads.
class ResetLimit::Watch : public grpc::experimental::Interceptor {
 public:
  Watch(ResetLimit* limit, ServerRpcInfo* call, std::string peer) {
    const MutexLock lock(&mu_);
    limit_ = limit;
    call_ = call;
    peer_ = std::move(peer);
  }
  ~Watch() override { const MutexLock lock(&mu_); }  // sees what the other threads wrote

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_MESSAGE)) OnAnswer();
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_CLOSE)) OnClose();
    methods->Proceed();
  }

 private:
  void OnAnswer() {
    const MutexLock lock(&mu_);
    answered_ = true;
  }
  void OnClose() {
    const MutexLock lock(&mu_);
    if (!answered_ && IsReset() && limit_->Count(peer_)) limit_->Cut(peer_);
  }
  // Cancelled, and not because its time was over: that happens to every call of a busy server.
  bool IsReset() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const grpc::ServerContextBase& context = *call_->server_context();
    return context.IsCancelled() && std::chrono::system_clock::now() < context.deadline();
  }

  Mutex mu_;
  ResetLimit* limit_ ABSL_GUARDED_BY(mu_);
  ServerRpcInfo* call_ ABSL_GUARDED_BY(mu_);
  // gRPC often does not know it any more once a call is cancelled.
  std::string peer_ ABSL_GUARDED_BY(mu_);
  bool answered_ ABSL_GUARDED_BY(mu_) = false;
};

grpc::experimental::Interceptor* ResetLimit::CreateServerInterceptor(ServerRpcInfo* call) {
  std::string peer = call->server_context()->peer();
  if (!peer.starts_with("ipv")) return nullptr;  // a unix-domain socket
  return new Watch(this, call, std::move(peer));
}

void ResetLimit::Cut(const std::string& peer) {
  CutConnection(peer);
  const MutexLock lock(&mu_);
  ++cut_;
  const absl::Time now = absl::Now();
  if (now < next_log_) return;
  Log(LogLevel::kWarning,
      absl::StrCat("closed ", std::exchange(cut_, 0), " connections, the last one of ", peer,
                   ": they cancelled more than ", burst_, " calls before those were answered"));
  next_log_ = now + kLogInterval;
}

ResetLimit::Allowance ResetLimit::Grown(const Allowance& allowance, absl::Time now) const {
  const double grown = allowance.calls + each_second_ * absl::ToDoubleSeconds(now - allowance.at);
  return {std::min<double>(grown, burst_), now};
}

bool ResetLimit::Count(const std::string& peer, absl::Time now) {
  const MutexLock lock(&mu_);
  if (peers_.size() >= many_peers_) {
    std::erase_if(peers_,
                  [&](const auto& each) { return Grown(each.second, now).calls >= burst_; });
    many_peers_ = std::max<size_t>(kManyPeers, 2 * peers_.size());  // so that this is seldom
  }
  const auto [found, added] = peers_.try_emplace(peer, Allowance{static_cast<double>(burst_), now});
  Allowance& allowance = found->second;
  allowance = Grown(allowance, now);
  if (allowance.calls >= 1) {
    --allowance.calls;
    return false;
  }
  // Others of its calls are on their way; looking for the connection once is enough.
  peers_.erase(found);
  return true;
}

}  // namespace retnet
