// A server among hostile clients, with a store that stops and starts, beside a client that behaves
// well. Prints what each attack was answered, what the good client saw, and a verdict.
//
//   soak SECONDS [ATTACK...]
//
// The model is the default one, models/demo, whose steps take much longer than gRPC takes to carry
// their tokens away. The good client and the hostile ones are two principals. The hostile clients
// are a process of their own. Where there are two CPUs or more, it and the store have half of them,
// and the server and the good client the others. So what the good client waits for is the server,
// not the attackers' own work.
// With names of attacks only those run, to find out what one of them costs.
//
// Exit status 1: the good client had an error or a wrong answer, or its latencies show that it is
// not protected at all, or memory or descriptors did not come back. The verdict is stricter about
// latencies than the status, for a busy machine has slow clients too.
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "tests/engine/snapshots/redis_server.h"
#include "tests/server/process.h"
#include "tests/server/retnetd.h"
#include "tests/server/soak/good_client.h"
#include "tests/server/soak/hostile_clients.h"

namespace retnet {
namespace {

// What the caches may keep is part of it: --host-state-bytes and --preempted-state-bytes below.
constexpr int64_t kMemoryThatMayStay = int64_t{150} << 20;
constexpr int kDescriptorsThatMayStay = 8;
// What the good client's p99 may be, in p99s of the unloaded server, beside one step in flight.
constexpr double kMostSlowdown = 3.0;
// The exit status is 1 only beyond so many times that.
constexpr double kBusyMachine = 10.0;
constexpr int kQuarters = 4;
// Memory goes back to the system a while after a peak.
constexpr absl::Duration kMemoryComesBack = absl::Seconds(25);
// --max-step-rows: rows of the longest step.
constexpr int32_t kStepRows = 512;

enum class Side { kServer, kAttackers };

// Keeps the calling thread, and threads and processes that it makes later, to its side's half of
// the CPUs. With a single CPU it does nothing.
void TakeCpusOf(Side side) {
  static const cpu_set_t all = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof set, &set);
    return set;
  }();
  const int count = CPU_COUNT(&all);
  if (count < 2) return;
  cpu_set_t half;
  CPU_ZERO(&half);
  for (int cpu = 0, seen = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &all)) continue;
    if ((seen++ < count / 2) == (side == Side::kServer)) CPU_SET(cpu, &half);
  }
  sched_setaffinity(0, sizeof half, &half);
}

struct Use {
  int64_t memory = 0;  // bytes
  int descriptors = 0;
};

Use UseOf(pid_t pid) {
  std::ifstream statm(absl::StrCat("/proc/", pid, "/statm"));
  int64_t size = 0;
  int64_t resident = 0;
  statm >> size >> resident;
  const std::filesystem::directory_iterator entries(absl::StrCat("/proc/", pid, "/fd"));
  return {resident * sysconf(_SC_PAGESIZE), static_cast<int>(std::distance(begin(entries), {}))};
}

// Freezes, stops and starts the store again and again.
class UnsteadyStore {
 public:
  explicit UnsteadyStore(RedisServer* redis)
      : thread_([this, redis] {
          TakeCpusOf(Side::kAttackers);
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

// Of latencies that ascend, in milliseconds.
double Percentile(const std::vector<Latency>& took, double part) {
  return took[static_cast<size_t>(part * static_cast<double>(took.size() - 1))].total;
}

// With the parts of the slowest hundredth, on average.
void Print(const char* when, const std::vector<Latency>& took) {
  std::printf("%-9s %7zu requests: p50 %6.2f ms, p99 %6.2f, at most %7.2f", when, took.size(),
              Percentile(took, 0.5), Percentile(took, 0.99), took.back().total);
  const size_t slow = std::max<size_t>(1, took.size() / 100);
  Latency sum;
  for (size_t i = took.size() - slow; i < took.size(); ++i) {
    sum.total += took[i].total / static_cast<double>(slow);
    sum.queued += took[i].queued / static_cast<double>(slow);
    sum.prefill += took[i].prefill / static_cast<double>(slow);
    sum.decode += took[i].decode / static_cast<double>(slow);
  }
  std::printf("; slowest: %.2f queued + %.2f prompt + %.2f answer + %.2f elsewhere\n", sum.queued,
              sum.prefill, sum.decode, sum.total - sum.queued - sum.prefill - sum.decode);
}

// HOST:PORT of the metrics page, from the server's log.
std::string MetricsOf(const std::string& log) {
  const std::string mark = "metrics at http://";
  const size_t begin = log.find(mark) + mark.size();
  return log.substr(begin, log.find('/', begin) - begin);
}

std::string NewToken(const std::string& name, const std::string& file) {
  Process made({RETNET_PATH, "token", "new", name, "--file", file});
  made.Wait();
  return std::string(absl::StripSuffix(made.output(), "\n"));
}

std::vector<std::string> ServerCommand(const std::string& tokens, const std::string& store) {
  const std::map<std::string, std::string> flags = {{"--model", RETNET_SOURCE_DIR "/models/demo"},
                                                    {"--max-sequences", "8"},
                                                    {"--max-step-rows", absl::StrCat(kStepRows)},
                                                    {"--threads", "1"},
                                                    {"--listen", "127.0.0.1:0"},
                                                    {"--metrics-listen", "127.0.0.1:0"},
                                                    {"--auth-tokens", tokens},
                                                    {"--snapshot-store", store},
                                                    {"--host-state-bytes", "33554432"},
                                                    {"--preempted-state-bytes", "33554432"}};
  std::vector<std::string> command = {RETNETD_PATH};
  for (const auto& [flag, value] : flags) command.insert(command.end(), {flag, value});
  return command;
}

// What the good client saw.
struct Latencies {
  std::vector<Latency> before;
  std::vector<Latency> step;  // prompts of kStepRows tokens, before the attacks
  std::vector<Latency> during;
  std::vector<Latency> after;
};

// Prints them; returns by how much the good client's p99 is beyond what it may be, 1 being the
// bound.
double JudgeLatencies(const Latencies& latencies) {
  Print("before", latencies.before);
  Print("one step", latencies.step);
  Print("during", latencies.during);
  Print("after", latencies.after);
  const double before = Percentile(latencies.before, 0.99);
  const double step = Percentile(latencies.step, 0.5);
  const double during = Percentile(latencies.during, 0.99);
  const double bound = kMostSlowdown * before + step;
  std::printf("p99: %.2f times that of before; the bound is %.0f times that and a step, %.2f ms\n",
              during / before, kMostSlowdown, bound);
  return during / bound;
}

// `uses` are in the order of time: before the attacks, at the end of each quarter of them, after.
// Returns what is wrong; "" if nothing is.
std::string JudgeUse(const std::vector<Use>& uses) {
  std::printf("MiB of memory, and descriptors: ");
  for (const Use& use : uses) std::printf(" %ld, %d;", use.memory >> 20, use.descriptors);
  std::printf(" before, after each quarter of the attacks, at the end\n");
  const Use& before = uses.front();
  const Use& after = uses.back();
  if (uses[kQuarters].memory - uses[1].memory >= kMemoryThatMayStay) return "memory grows; ";
  if (after.memory - before.memory >= kMemoryThatMayStay) return "memory did not come back; ";
  if (after.descriptors - before.descriptors > kDescriptorsThatMayStay) {
    return "descriptors did not come back; ";
  }
  return "";
}

int Run(const std::string& own_path, absl::Duration duration,
        const std::vector<std::string>& attacks) {
  TakeCpusOf(Side::kServer);
  RedisServer redis;
  redis.Start();
  const std::string tokens = testing::TempDir() + absl::StrCat("soak_tokens_", getpid());
  const std::string good_token = NewToken("good", tokens);
  const std::string hostile_token = NewToken("hostile", tokens);
  Process server(ServerCommand(tokens, redis.url()));
  const std::string address = std::string(absl::StripPrefix(server.ReadLine(), "listening on "));
  GoodClient good(address, good_token);
  Latencies latencies;
  latencies.before = good.Run(std::min(duration / 6, absl::Seconds(20)));
  latencies.step = good.TimePrompts(kStepRows, 20);
  std::vector<Use> uses = {UseOf(server.pid())};

  std::vector<std::string> command = {own_path, "--hostile", address, MetricsOf(server.error()),
                                      hostile_token};
  command.insert(command.end(), attacks.begin(), attacks.end());
  TakeCpusOf(Side::kAttackers);
  Process hostile(command);
  TakeCpusOf(Side::kServer);
  {
    const UnsteadyStore store(&redis);
    for (int quarter = 0; quarter < kQuarters; ++quarter) {
      const std::vector<Latency> took = good.Run(duration / 6);
      latencies.during.insert(latencies.during.end(), took.begin(), took.end());
      uses.push_back(UseOf(server.pid()));
    }
    std::sort(latencies.during.begin(), latencies.during.end());
    hostile.Signal(SIGTERM);
    hostile.Wait();
  }
  latencies.after = good.Run(std::clamp(duration / 6, kMemoryComesBack, absl::Seconds(70)));
  uses.push_back(UseOf(server.pid()));
  std::printf("%s%s", hostile.output().c_str(), hostile.error().c_str());
  const double slowdown = JudgeLatencies(latencies);
  std::string wrong = JudgeUse(uses);
  server.Signal(SIGTERM);
  const int status = server.Wait();
  std::filesystem::remove(tokens);
  if (good.failures() > 0) absl::StrAppend(&wrong, good.failures(), " failures of the client; ");
  if (status != 0) absl::StrAppend(&wrong, "the server's exit status is ", status, "; ");
  if (slowdown > kBusyMachine) absl::StrAppend(&wrong, "the good client is not protected; ");
  const int result = wrong.empty() ? 0 : 1;
  if (slowdown > 1) absl::StrAppendFormat(&wrong, "p99 is %.1f times its bound; ", slowdown);
  std::printf("verdict: %s\n", wrong.empty() ? "holds" : ("FALLS SHORT: " + wrong).c_str());
  return result;
}

// The attackers' process: until SIGTERM.
int RunHostile(const HostileTargets& targets, const std::vector<std::string>& names) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  std::vector<Attack> attacks;
  for (const Attack& attack : AllAttacks()) {
    const bool wanted = std::find(names.begin(), names.end(), attack.name) != names.end();
    if (wanted || names.empty()) attacks.push_back(attack);
  }
  Outcomes outcomes;
  {
    const HostileClients hostile(attacks, targets, absl::Milliseconds(500), &outcomes);
    int signal = 0;
    sigwait(&signals, &signal);
  }
  for (const auto& [attack, counts] : outcomes.counts()) {
    std::printf("%-26s", attack.c_str());
    for (const auto& [status, count] : counts) std::printf("  %s %ld", status.c_str(), count);
    std::printf("\n");
  }
  return 0;
}

}  // namespace
}  // namespace retnet

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() >= 4 && words[0] == "--hostile") {
    return retnet::RunHostile({.grpc = words[1], .metrics = words[2], .token = words[3]},
                              {words.begin() + 4, words.end()});
  }
  const double seconds = words.empty() ? 0.0 : std::atof(words[0].c_str());
  if (!(seconds >= 12)) {
    std::fprintf(stderr, "usage: soak SECONDS [ATTACK...], at least 12. Attacks:");
    for (const retnet::Attack& attack : retnet::AllAttacks()) {
      std::fprintf(stderr, " %s", attack.name.c_str());
    }
    std::fprintf(stderr, "\n");
    return 2;
  }
  return retnet::Run(argv[0], absl::Seconds(seconds), {words.begin() + 1, words.end()});
}
