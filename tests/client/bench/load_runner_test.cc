// Loads on the real server over a real socket, with the engine on a fake model.
#include "client/bench/load_runner.h"

#include <future>
#include <map>
#include <set>
#include <thread>

#include "absl/time/clock.h"
#include "client/bench/load_summary.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"

namespace retnet {
namespace {

using ::testing::SizeIs;

WorkloadOptions ShortRequests() {
  WorkloadOptions options;
  options.input_lengths = Lengths::Uniform(1, 30);
  options.output_lengths = Lengths::Uniform(1, 20);
  options.common.set_ignore_eos(true);
  return options;
}

class Load {
 public:
  explicit Load(const std::string& target, int connections = 2) {
    channels_.target = target;
    for (int i = 0; i < connections; ++i) channels_.ordinary.push_back(NewChannel(target));
    channels_.narrow = NewNarrowChannel(target);
  }
  explicit Load(FakeServer* server, int connections = 2)
      : Load(server->server().address(), connections) {
    EXPECT_TRUE(server->stub().GetModel(&context_, {}, &model_).ok());
  }

  Workload MakeWorkload(const WorkloadOptions& options) const {
    return Workload(options, model_, {});
  }
  LoadResult Run(const LoadLimits& limits, const WorkloadOptions& options = ShortRequests(),
                 const ArrivalOptions& arrival_options = {}) {
    Arrivals arrivals(arrival_options, 1);
    LoadRunner runner(channels_, limits, &progress_);
    return runner.Run(MakeWorkload(options), &arrivals);
  }

  const Channels& channels() const { return channels_; }
  LoadProgress& progress() { return progress_; }

 private:
  grpc::ClientContext context_;
  v1::GetModelResponse model_;
  Channels channels_;
  LoadProgress progress_;
};

void AwaitIdle(const Engine& engine) {
  while (engine.stats().running + engine.stats().waiting > 0) {
    absl::SleepFor(absl::Milliseconds(1));
  }
}

TEST(LoadRunner, ClosesTheLoopAtItsConcurrency) {
  FakeServer server;
  server.control().Hold();
  Load load(&server);
  auto running =
      std::async(std::launch::async, [&] { return load.Run({.requests = 60, .concurrency = 3}); });
  while (load.progress().running < 3) absl::SleepFor(absl::Milliseconds(1));
  server.control().Release();
  const LoadResult result = running.get();
  ASSERT_THAT(result.records, SizeIs(60));
  int64_t tokens = 0;
  for (const RequestRecord& record : result.records) {
    ASSERT_EQ(record.outcome, Outcome::kCompleted) << record.status.error_message();
    ASSERT_LE(record.sent, *record.first_token);
    ASSERT_LE(*record.first_token, record.ended);
    ASSERT_LE(record.ended, result.seconds);
    ASSERT_TRUE(record.server.has_value());
    tokens += record.output_tokens;
  }
  int64_t planned = 0;
  for (int i = 0; i < 60; ++i) {
    planned += load.MakeWorkload(ShortRequests()).Request(i).request.max_tokens();
  }
  EXPECT_EQ(tokens, planned);
  EXPECT_EQ(load.progress().tokens, planned);
  EXPECT_EQ(load.progress().ended, 60);
  EXPECT_EQ(load.progress().running, 0);
  const LoadSummary summary = Summarize(result, {});
  EXPECT_EQ(summary.peak_running, 3);
  EXPECT_EQ(summary.received_tokens, planned);
  EXPECT_GT(summary.client.cpu_share, 0);
  EXPECT_FALSE(result.interrupted);
}

TEST(LoadRunner, SendsWhenRequestsAreDueAndNotBefore) {
  FakeServer server;
  Load load(&server);
  const LoadResult result =
      load.Run({.requests = 40}, ShortRequests(), {.request_rate = 400, .burst_size = 4});
  ASSERT_THAT(result.records, SizeIs(40));
  std::set<double> due;
  for (const RequestRecord& record : result.records) {
    EXPECT_GE(record.sent, record.due);
    due.insert(record.due);
  }
  EXPECT_THAT(due, SizeIs(10));
}

TEST(LoadRunner, CountsWhatItProvokesApartFromFailures) {
  FakeServerOptions slow;
  slow.model.step_time = absl::Milliseconds(1);
  FakeServer server(slow);
  Load load(&server);
  WorkloadOptions options = ShortRequests();
  options.cancel_fraction = 0.3;
  options.slow_reader_fraction = 0.2;
  options.vanish_fraction = 0.3;
  std::map<Conduct, int64_t> planned;
  for (int i = 0; i < 120; ++i) ++planned[load.MakeWorkload(options).Request(i).conduct];
  const LoadSummary summary = Summarize(
      load.Run({.requests = 120, .concurrency = 6, .slow_reader_pause = 0.002}, options), {});
  EXPECT_EQ(summary.total(), 120);
  EXPECT_EQ(summary.count(Outcome::kFailed), 0);
  EXPECT_EQ(summary.count(Outcome::kDawdled), planned[Conduct::kDawdles]);
  // One that would leave at its last token may have been answered before.
  EXPECT_LE(summary.count(Outcome::kCancelled), planned[Conduct::kCancels]);
  EXPECT_LE(summary.count(Outcome::kVanished), planned[Conduct::kVanishes]);
  EXPECT_GT(summary.count(Outcome::kCancelled), planned[Conduct::kCancels] / 2);
  EXPECT_GT(summary.count(Outcome::kVanished), planned[Conduct::kVanishes] / 2);
  AwaitIdle(server.engine());
  EXPECT_THAT(server.control().violations(), SizeIs(0));
}

TEST(LoadRunner, CountsRefusalsByStatus) {
  FakeServerOptions options;
  options.model.slots = 1;
  options.engine.max_queue = 2;
  FakeServer server(options);
  server.control().Hold();
  // A tenant alone is refused at once. Of two, one may be pushed out, after the step.
  Load load(&server, /*connections=*/1);
  auto running = std::async(std::launch::async, [&] { return load.Run({.requests = 10}); });
  while (load.progress().failed < 7) absl::SleepFor(absl::Milliseconds(1));
  server.control().Release();
  const LoadSummary summary = Summarize(running.get(), {});
  EXPECT_EQ(summary.count(Outcome::kCompleted), 3);
  EXPECT_EQ(summary.failures.at(grpc::StatusCode::RESOURCE_EXHAUSTED).count, 7);
}

TEST(LoadRunner, StopsAtOnceAndKeepsWhatThereIs) {
  FakeServerOptions options;
  options.model.step_time = absl::Milliseconds(1);
  FakeServer server(options);
  Load load(&server);
  WorkloadOptions endless = ShortRequests();
  endless.output_lengths = Lengths(4000);
  LoadRunner runner(load.channels(), {.requests = 1000, .concurrency = 4}, &load.progress());
  auto running = std::async(std::launch::async, [&] {
    Arrivals arrivals({}, 1);
    return runner.Run(load.MakeWorkload(endless), &arrivals);
  });
  while (load.progress().tokens < 20) absl::SleepFor(absl::Milliseconds(1));
  runner.Stop();
  const LoadResult result = running.get();
  EXPECT_TRUE(result.interrupted);
  const LoadSummary summary = Summarize(result, {});
  EXPECT_EQ(summary.count(Outcome::kInterrupted), summary.total());
  EXPECT_GE(summary.received_tokens, 20);
  AwaitIdle(server.engine());
  Arrivals arrivals({}, 1);
  LoadRunner stopped(load.channels(), {.requests = 5}, &load.progress());
  stopped.Stop();
  EXPECT_THAT(stopped.Run(load.MakeWorkload(endless), &arrivals).records, SizeIs(0));
}

TEST(LoadRunner, EndsWhenItsTimeIsUpAndAwaitsWhatRuns) {
  FakeServer server;
  Load load(&server);
  const absl::Time begin = absl::Now();
  const LoadResult result = load.Run({.seconds = 0.2, .concurrency = 2});
  EXPECT_GE(absl::Now() - begin, absl::Seconds(0.2));
  EXPECT_GE(result.records.size(), 2);
  for (const RequestRecord& record : result.records) {
    EXPECT_EQ(record.outcome, Outcome::kCompleted);
  }
}

TEST(LoadRunner, FailsWhereNobodyListensOrTimeIsUp) {
  Load nowhere("127.0.0.1:1");
  WorkloadOptions options = ShortRequests();
  options.vanish_fraction = 0.5;
  v1::GetModelResponse model;
  model.set_vocab_size(10);
  model.set_max_context_length(100);
  LoadRunner runner(nowhere.channels(), {.requests = 20, .concurrency = 4}, &nowhere.progress());
  Arrivals arrivals({}, 1);
  const LoadSummary gone = Summarize(runner.Run(Workload(options, model, {}), &arrivals), {});
  EXPECT_EQ(gone.failures.at(grpc::StatusCode::UNAVAILABLE).count, 20);

  FakeServer server;
  server.control().Hold();
  Load load(&server);
  const LoadSummary late = Summarize(load.Run({.requests = 3, .timeout_seconds = 0.05}), {});
  EXPECT_EQ(late.failures.at(grpc::StatusCode::DEADLINE_EXCEEDED).count, 3);
  server.control().Release();
}

}  // namespace
}  // namespace retnet
