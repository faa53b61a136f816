// Clients that mean harm, each in a thread of its own.
#ifndef RETNET_TESTS_SERVER_SOAK_HOSTILE_CLIENTS_H_
#define RETNET_TESTS_SERVER_SOAK_HOSTILE_CLIENTS_H_

#include <grpcpp/channel.h>
#include <grpcpp/support/status.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "kernels/mutex.h"

namespace retnet {

// What a kind of attack was answered, by status: for the table at the end. Thread-safe.
class Outcomes {
 public:
  void Count(const std::string& attack, const std::string& outcome);
  void Count(const std::string& attack, const grpc::Status& status);
  std::map<std::string, std::map<std::string, int64_t>> counts() const;

 private:
  mutable Mutex mutex_;
  std::map<std::string, std::map<std::string, int64_t>> counts_ ABSL_GUARDED_BY(mutex_);
};

struct HostileTargets {
  std::string grpc;     // HOST:PORT
  std::string metrics;  // HOST:PORT
  std::string token;    // all of them are one principal
};

// One attack, from beginning to end, in a second or a few.
struct Attack {
  std::string name;
  std::function<void(const HostileTargets& targets, Outcomes* outcomes)> run;
};

const std::vector<Attack>& AllAttacks();

// Repeats attacks, each in its own thread, until it is destroyed.
class HostileClients {
 public:
  // `outcomes` outlives it. An attack rests for `pause` before it comes again.
  HostileClients(const std::vector<Attack>& attacks, HostileTargets targets, absl::Duration pause,
                 Outcomes* outcomes);
  ~HostileClients();

 private:
  std::atomic<bool> stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace retnet

#endif  // RETNET_TESTS_SERVER_SOAK_HOSTILE_CLIENTS_H_
