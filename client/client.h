// The client's side of a call: connecting, Ctrl-C, and exit codes for failures.
#ifndef RETNET_CLIENT_CLIENT_H_
#define RETNET_CLIENT_CLIENT_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/channel_arguments.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "client/access.h"
#include "kernels/mutex.h"

namespace retnet {

// The name of a status code as in gRPC's documentation, such as "RESOURCE_EXHAUSTED".
std::string CodeName(grpc::StatusCode code);

// Makes a channel to `target` not take the proxy that the environment names, if the target is this
// machine itself.
void AvoidProxyOnLoopback(const std::string& target, grpc::ChannelArguments* arguments);

enum ExitCode : int {
  kExitOk = 0,
  kExitRefused = 1,  // the server answered with an error
  kExitUsage = 2,
  kExitUnreachable = 4,
  kExitOutput = 5,  // the answer came and could not be written
};

struct ClientOptions {
  std::string target = "127.0.0.1:50051";
  double timeout_seconds = 0;  // 0: no timeout
  bool json = false;
  AccessOptions access;
};

// One call to a server, which Ctrl-C cancels. Create it before any other thread: it blocks SIGINT,
// and later threads inherit that.
class Client {
 public:
  // `access` is what options.access says.
  Client(const ClientOptions& options, Access access);
  ~Client();

  // Returns whether the server can be reached. Prints an error to standard error if not.
  bool Connect();
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  grpc::ClientContext* context() { return &context_; }
  bool json() const { return options_.json; }
  const Access& access() const { return access_; }
  const std::string& target() const { return options_.target; }
  double timeout_seconds() const { return options_.timeout_seconds; }

  // Sets what Ctrl-C does in addition to cancelling context(); null means nothing. `action` runs on
  // a thread of its own. A second Ctrl-C ends the process.
  void OnInterrupt(std::function<void()> action);

  // Makes Ctrl-C call `handler` first, on a thread of its own. If it returns true, nothing else
  // happens and the next Ctrl-C calls it again. null removes the handler.
  void InterceptInterrupts(std::function<bool()> handler);

  // Prints an error to standard error if the status is not OK. After Ctrl-C it ends the process by
  // SIGINT, as shells expect.
  ExitCode Report(const grpc::Status& status);

 private:
  // Handles one Ctrl-C. Returns whether to wait for the next one.
  bool Interrupt();

  const ClientOptions options_;
  const Access access_;
  std::shared_ptr<grpc::Channel> channel_;
  grpc::ClientContext context_;
  std::atomic<bool> interrupted_ = false;
  Mutex mu_;
  std::function<void()> on_interrupt_ ABSL_GUARDED_BY(mu_);
  std::function<bool()> intercept_ ABSL_GUARDED_BY(mu_);
  std::thread interrupt_;  // waits for SIGINT
};

}  // namespace retnet

#endif  // RETNET_CLIENT_CLIENT_H_
