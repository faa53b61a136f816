// The client's side of a call: connecting, interrupting, and what a failure means for the exit
// code.
#ifndef RETNET_CLIENT_CLIENT_H_
#define RETNET_CLIENT_CLIENT_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "kernels/mutex.h"

namespace retnet {

// As gRPC's documents write it: "RESOURCE_EXHAUSTED".
std::string CodeName(grpc::StatusCode code);

enum ExitCode : int {
  kExitOk = 0,
  kExitRefused = 1,  // the server answered, and not as asked
  kExitUsage = 2,
  kExitUnreachable = 4,
};

struct ClientOptions {
  std::string target = "127.0.0.1:50051";
  double timeout_seconds = 0;  // 0: none
  bool json = false;
};

// One call to a server. Make it before any other thread, since it blocks SIGINT for those that
// follow: Ctrl-C then cancels the call.
class Client {
 public:
  explicit Client(const ClientOptions& options);
  ~Client();

  // Whether the server can be reached; says on standard error if not.
  bool Connect();
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  grpc::ClientContext* context() { return &context_; }
  bool json() const { return options_.json; }
  const std::string& target() const { return options_.target; }
  double timeout_seconds() const { return options_.timeout_seconds; }

  // What Ctrl-C does besides cancelling context(), on a thread of its own; null: nothing. A second
  // Ctrl-C ends the process.
  void OnInterrupt(std::function<void()> action);

  // From now on Ctrl-C first calls this, on a thread of its own; true: it has been dealt with, and
  // the next Ctrl-C calls it again. null: as before.
  void InterceptInterrupts(std::function<bool()> handler);

  // Says on standard error what went wrong, if anything did. After Ctrl-C it ends the process by
  // SIGINT, as shells expect.
  ExitCode Report(const grpc::Status& status);

 private:
  // Whether the next Ctrl-C is waited for, too.
  bool Interrupt();

  const ClientOptions options_;
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
