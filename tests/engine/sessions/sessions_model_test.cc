// Sessions on real backends: whatever is split, batched, forked, rewound, evicted, restored, cached
// and guessed ahead, every answer has the bits of the same history computed from nothing.
#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/engine.h"
#include "tests/engine/oracle.h"
#include "tests/engine/recording_sink.h"
#include "tests/engine/sessions/engine_on_model.h"
#include "tests/models/random_checkpoint.h"
#include "tests/models/test_model.h"

namespace retnet {
namespace {

constexpr int32_t kVocabulary = 13;  // guesses come true
constexpr int32_t kMaxRows = 200;

class SessionsOnModels : public ::testing::TestWithParam<int> {
 protected:
  SessionsOnModels()
      : folder_(WriteRandomCheckpoint(
            {.config = R"({"vocab_size": 13, "hidden_size": 64, "num_hidden_layers": 2,
                           "num_heads": 2, "intermediate_size": 96})",
             .type = ElementType::kBFloat16})) {}

  std::unique_ptr<Engine> MakeEngine(int32_t slots, const EngineOptions& options) const {
    const Backend backend = UnrecordedBackends().back();
    return std::make_unique<Engine>(
        std::make_unique<OwnedModel>(backend.make(folder_, slots, kMaxRows)), options);
  }

  Snapshot Export(const SessionKey& key) {
    return Await<Snapshot>([&](Reply<Snapshot> reply) { engine_->ExportSession(key, reply); });
  }

  std::vector<TokenId> Prompt(bool spans_a_chunk) {
    std::vector<TokenId> prompt(spans_a_chunk ? 66 + random_() % 20 : 1 + random_() % 90);
    const TokenId first = random_() % 2;
    for (size_t i = 0; i < prompt.size(); ++i) {
      prompt[i] = i < 70 ? first : static_cast<TokenId>(random_() % kVocabulary);
    }
    return prompt;
  }

  Request RandomRequest(const SessionKey& key) {
    Request request;
    request.session = key;
    request.prompt = Prompt(/*spans_a_chunk=*/key.id.empty());
    request.max_tokens = 1 + random_() % 12;
    request.sampling.temperature = random_() % 2 == 0 ? 0.0f : 0.7f;
    request.sampling.seed = random_();
    request.logprobs = true;
    request.max_draft_tokens = random_() % 5;
    return request;
  }

  struct Asked {
    Request request;
    Snapshot before;  // without a state
    std::shared_ptr<RecordingSink> sink = std::make_shared<RecordingSink>();
  };

  Asked Ask(const SessionKey& key) {
    Asked asked{.request = RandomRequest(key), .before = {}};
    if (!key.id.empty()) asked.before = Export(key);
    asked.before.state = nullptr;
    asked.before.shape = {};
    EXPECT_TRUE(engine_->Submit(asked.request, asked.sink).ok());
    return asked;
  }

  // The same on an engine that knows nothing but the tokens and their classes.
  void ExpectOneShot(const Asked& asked, Engine* oracle) {
    ASSERT_TRUE(asked.sink->AwaitDone().status.ok()) << asked.sink->completion().status;
    Request request = asked.request;
    request.max_draft_tokens = 0;
    request.keep = false;
    request.session = {"oracle", ""};
    if (!asked.before.history.empty()) {
      request.session = Await<SessionInfo>([&](Reply<SessionInfo> reply) {
                          SessionSpec spec;
                          spec.key.owner = "oracle";
                          oracle->ImportSession(spec, asked.before, reply);
                        }).key;
    }
    const auto sink = std::make_shared<RecordingSink>();
    ASSERT_TRUE(oracle->Submit(request, sink).ok());
    ASSERT_TRUE(sink->AwaitDone().status.ok()) << sink->completion().status;
    ASSERT_TRUE(SameResults(asked.sink->results(), sink->results()));
  }

  const std::string folder_;
  std::mt19937 random_;
  std::unique_ptr<Engine> engine_;
};

TEST_P(SessionsOnModels, AnyScheduleHasTheBitsOfOneShot) {
  random_.seed(GetParam());
  EngineOptions options;
  options.executor.state_manager.deterministic = true;
  options.executor.max_rows = 40;
  options.executor.state_cache.host_bytes = random_() % 2 == 0 ? 1 << 20 : 0;
  const int32_t slots = GetParam() % 2 == 0 ? 3 : 12;
  engine_ = MakeEngine(slots, options);
  EngineOptions plain;
  plain.executor.state_manager.prefix_cache = false;
  const std::unique_ptr<Engine> oracle = MakeEngine(/*slots=*/1, plain);

  std::vector<SessionKey> keys;
  for (const std::string id : {"a", "b"}) {
    keys.push_back(Await<SessionInfo>([&](Reply<SessionInfo> reply) {
                     SessionSpec spec;
                     spec.key = {"anna", id};
                     engine_->CreateSession(spec, reply);
                   }).key);
  }
  for (int round = 0; round < 5; ++round) {
    std::vector<Asked> asked;
    for (const SessionKey& key : keys) asked.push_back(Ask(key));
    for (int i = 0; i < 2; ++i) asked.push_back(Ask({"anna", ""}));
    for (const Asked& each : asked) ExpectOneShot(each, oracle.get());
    if (HasFatalFailure()) return;
    const SessionKey key = keys[random_() % keys.size()];
    if (keys.size() < 4) {
      const std::string id = absl::StrCat("fork", round);
      Await<std::vector<SessionInfo>>(
          [&](Reply<std::vector<SessionInfo>> reply) { engine_->ForkSession(key, {id}, reply); });
      keys.push_back({"anna", id});
    }
    const auto tokens = static_cast<int32_t>(Export(key).history.size());
    const int32_t most = random_() % 2 == 0 ? tokens : std::min(tokens, 10);
    Await<SessionInfo>([&](Reply<SessionInfo> reply) {
      engine_->RewindSession(
          key, {Rewind::Counts::kDropped, static_cast<int32_t>(random_() % most)}, reply);
    });
  }
  // With few slots, it depends on what moving a state took.
  EXPECT_TRUE(slots == 3 || engine_->stats().cache_hits > 0);
}

// Fewer where each takes half a minute.
#ifndef RETNET_SCHEDULES
#define RETNET_SCHEDULES 4
#endif
INSTANTIATE_TEST_SUITE_P(Seeds, SessionsOnModels, testing::Range(0, RETNET_SCHEDULES));

}  // namespace
}  // namespace retnet
