// A server among hostile clients, with a store that stops and starts, beside a client that behaves
// well. Prints what each attack was answered and what the good client saw.
//
//   soak SECONDS
//
// Exit status 1: the good client had an error or a wrong answer, or memory or descriptors did not
// come back. Its latencies are printed and not judged, for a busy machine has slow clients too.
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/engine/snapshots/redis_server.h"
#include "tests/server/process.h"
#include "tests/server/retnetd.h"
#include "tests/server/soak/hostile_clients.h"

namespace retnet {
namespace {

// Beyond what the caches may keep (--host-state-bytes and --preempted-state-bytes below).
constexpr int64_t kMemoryThatMayStay = int64_t{150} << 20;
constexpr int kDescriptorsThatMayStay = 8;

int64_t ResidentBytes(pid_t pid) {
  std::ifstream statm(absl::StrCat("/proc/", pid, "/statm"));
  int64_t size = 0;
  int64_t resident = 0;
  statm >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

int Descriptors(pid_t pid) {
  const std::filesystem::directory_iterator entries(absl::StrCat("/proc/", pid, "/fd"));
  return static_cast<int>(std::distance(begin(entries), end(entries)));
}

// Small requests, one at a time, without a session and on one that stays, over one connection.
class GoodClient {
 public:
  explicit GoodClient(const std::string& address)
      : stub_(v1::Generation::NewStub(
            grpc::CreateChannel(address, grpc::InsecureChannelCredentials()))) {
    request_.set_text("Alice was beginning to get very tired");
    request_.set_max_tokens(16);
    request_.set_temperature(0);
    request_.set_ignore_eos(true);
    expected_ = Ask();
  }

  // Asks for so long; returns the latencies in milliseconds, ascending.
  std::vector<double> Run(absl::Duration duration) {
    std::vector<double> took;
    for (const absl::Time end = absl::Now() + duration; absl::Now() < end;) {
      const absl::Time start = absl::Now();
      const std::string text = Ask();
      took.push_back(absl::ToDoubleMilliseconds(absl::Now() - start));
      if (text != expected_) Fail(absl::StrCat("\"", text, "\" in place of \"", expected_, "\""));
      absl::SleepFor(absl::Milliseconds(5));
    }
    std::sort(took.begin(), took.end());
    return took;
  }

  int failures() const { return failures_; }

 private:
  std::string Ask() {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    v1::CompleteResponse response;
    const grpc::Status status = stub_->Complete(&context, request_, &response);
    if (!status.ok()) Fail(status.error_message());
    return response.choices_size() == 1 ? response.choices(0).text() : "";
  }
  void Fail(const std::string& what) {
    if (++failures_ <= 10) std::fprintf(stderr, "the good client: %s\n", what.c_str());
  }

  const std::unique_ptr<v1::Generation::Stub> stub_;
  v1::GenerateRequest request_;
  std::string expected_;
  int failures_ = 0;
};

// Freezes, stops and starts the store again and again.
class UnsteadyStore {
 public:
  explicit UnsteadyStore(RedisServer* redis)
      : thread_([this, redis] {
          while (!stopping_) {
            Rest();
            redis->Freeze();
            Rest();
            redis->Thaw();
            Rest();
            redis->Kill();
            Rest();
            redis->Start();
          }
        }) {}
  ~UnsteadyStore() {
    stopping_ = true;
    thread_.join();
  }

 private:
  void Rest() {
    for (int i = 0; i < 40 && !stopping_; ++i) absl::SleepFor(absl::Milliseconds(50));
  }

  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

double Percentile(const std::vector<double>& ascending, double part) {
  return ascending[static_cast<size_t>(part * static_cast<double>(ascending.size() - 1))];
}

void Print(const char* when, const std::vector<double>& took) {
  std::printf("%-10s %6zu requests: p50 %7.1f ms, p99 %7.1f ms, at most %7.1f ms\n", when,
              took.size(), Percentile(took, 0.5), Percentile(took, 0.99), took.back());
}

// HOST:PORT of the metrics page, from the server's log.
std::string MetricsOf(const std::string& log) {
  const std::string mark = "metrics at http://";
  const size_t begin = log.find(mark) + mark.size();
  return log.substr(begin, log.find('/', begin) - begin);
}

int Run(absl::Duration duration) {
  RedisServer redis;
  redis.Start();
  // Of two addresses: the good client's is ::1, the hostile ones' 127.0.0.1.
  Process server({RETNETD_PATH, "--model", ModelFolder(), "--max-sequences", "8", "--threads", "1",
                  "--listen", "[::]:0", "--metrics-listen", "127.0.0.1:0", "--snapshot-store",
                  redis.url(), "--host-state-bytes", "33554432", "--preempted-state-bytes",
                  "33554432"});
  const std::string line = server.ReadLine();
  const std::string port = line.substr(line.rfind(':'));
  const HostileTargets targets{.grpc = "127.0.0.1" + port, .metrics = MetricsOf(server.error())};
  GoodClient good("[::1]" + port);
  const std::vector<double> before = good.Run(std::min(duration / 6, absl::Seconds(20)));
  const int64_t memory_before = ResidentBytes(server.pid());
  const int descriptors_before = Descriptors(server.pid());

  Outcomes outcomes;
  std::vector<double> during;
  {
    const UnsteadyStore store(&redis);
    const HostileClients hostile(targets, absl::Milliseconds(500), &outcomes);
    during = good.Run(duration * 2 / 3);
  }
  const int64_t memory_peak = ResidentBytes(server.pid());
  const std::vector<double> after = good.Run(std::min(duration / 6, absl::Seconds(70)));
  const int64_t memory_after = ResidentBytes(server.pid());
  const int descriptors_after = Descriptors(server.pid());

  for (const auto& [attack, counts] : outcomes.counts()) {
    std::printf("%-26s", attack.c_str());
    for (const auto& [status, count] : counts) std::printf("  %s %ld", status.c_str(), count);
    std::printf("\n");
  }
  Print("before", before);
  Print("during", during);
  Print("after", after);
  std::printf("p99 during / before: %.2f\n", Percentile(during, 0.99) / Percentile(before, 0.99));
  std::printf("memory: %ld MiB before, %ld at the end of the attacks, %ld after\n",
              memory_before >> 20, memory_peak >> 20, memory_after >> 20);
  std::printf("descriptors: %d before, %d after\n", descriptors_before, descriptors_after);
  std::printf("the good client's failures: %d\n", good.failures());
  server.Signal(SIGTERM);
  const int exit_code = server.Wait();
  std::printf("the server's exit status: %d\n", exit_code);
  const bool flat = memory_after - memory_before < kMemoryThatMayStay &&
                    descriptors_after - descriptors_before <= kDescriptorsThatMayStay;
  return good.failures() == 0 && flat && exit_code == 0 ? 0 : 1;
}

}  // namespace
}  // namespace retnet

int main(int argc, char** argv) {
  const double seconds = argc == 2 ? std::atof(argv[1]) : 0.0;
  if (!(seconds >= 12)) {
    std::fprintf(stderr, "usage: soak SECONDS, at least 12\n");
    return 2;
  }
  return retnet::Run(absl::Seconds(seconds));
}
