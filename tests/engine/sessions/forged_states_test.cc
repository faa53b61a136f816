// Whatever finite numbers a forged state has, on real backends: others get their own bits, beside
// it in the same steps, behind it in the same slots, and for the same tokens.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "tests/engine/oracle.h"
#include "tests/engine/recording_sink.h"
#include "tests/engine/sessions/engine_on_model.h"
#include "tests/models/random_checkpoint.h"
#include "tests/models/test_model.h"

namespace retnet {
namespace {

constexpr int32_t kVocabulary = 97;
constexpr int32_t kHistory = 150;  // two bases and a tail
const SessionKey kForged = {"", "forged"};

class ForgedStates : public testing::TestWithParam<int> {
 protected:
  std::unique_ptr<Engine> MakeEngine(const std::string& folder) {
    const Backend backend = UnrecordedBackends().back();
    return std::make_unique<Engine>(
        std::make_unique<OwnedModel>(backend.make(folder, /*slots=*/3, /*max_rows=*/64)),
        EngineOptions());
  }

  // Of any size up to the greatest: half of the numbers of a state, whose others are like those of
  // a real one.
  float AnyFinite() {
    if (random_() % 2 == 0) return std::normal_distribution<float>()(random_);
    while (true) {
      const auto number = std::bit_cast<float>(static_cast<uint32_t>(random_()));
      if (std::isfinite(number)) return number;
    }
  }

  Snapshot Forge(const ModelInfo& info, const std::vector<TokenId>& tokens) {
    Snapshot snapshot;
    snapshot.version = 1;
    snapshot.history = tokens;
    snapshot.shape = {.base_position = 2 * info.chunk, .position = kHistory - 1};
    const int64_t bytes = snapshot.shape.Bytes(info.base_bytes, info.tail_token_bytes);
    auto state = std::make_shared<ByteVector>(bytes);
    for (int64_t i = 0; i + 4 <= bytes; i += 4) {
      const float number = AnyFinite();
      std::memcpy(state->data() + i, &number, 4);
    }
    snapshot.state = std::move(state);
    return snapshot;
  }

  static Request Generation(const SessionKey& session, std::vector<TokenId> prompt) {
    Request request;
    request.session = session;
    request.prompt = std::move(prompt);
    request.max_tokens = 12;
    request.sampling.temperature = 0.8f;
    request.sampling.seed = 5;
    request.logprobs = true;
    request.top_logprobs = 3;
    return request;
  }

  static std::shared_ptr<RecordingSink> Submit(Engine* engine, Request request) {
    auto sink = std::make_shared<RecordingSink>();
    EXPECT_TRUE(engine->Submit(std::move(request), sink).ok());
    return sink;
  }

  std::mt19937 random_{static_cast<uint32_t>(GetParam())};
};

TEST_P(ForgedStates, ChangeNothingForOthers) {
  const std::string folder = WriteRandomCheckpoint(
      {.config = R"({"vocab_size": 97, "hidden_size": 64, "num_hidden_layers": 2, "num_heads": 2,
                     "intermediate_size": 96})",
       .type = ElementType::kBFloat16});
  const std::vector<TokenId> text = RandomTokens(kHistory, kVocabulary, GetParam());
  std::vector<Request> honest;
  for (const int32_t tokens : {kHistory, kHistory / 2, 3}) {
    honest.push_back(Generation({}, {text.begin(), text.begin() + tokens}));
  }
  std::vector<std::vector<SampleResult>> expected;
  {
    const std::unique_ptr<Engine> alone = MakeEngine(folder);
    for (const Request& request : honest) {
      const auto sink = Submit(alone.get(), request);
      ASSERT_TRUE(sink->AwaitDone().status.ok()) << sink->completion().status;
      expected.push_back(sink->results());
    }
  }
  const std::unique_ptr<Engine> engine = MakeEngine(folder);
  const Snapshot forged = Forge(engine->model_info(), text);
  ASSERT_TRUE(DecodeSnapshot(EncodeSnapshot(forged, engine->snapshot_format()).value(),
                             engine->snapshot_format())
                  .ok());
  for (int round = 0; round < 3; ++round) {
    Await<SessionInfo>([&](Reply<SessionInfo> reply) {
      engine->ImportSession({.key = kForged, .labels = {}}, forged, reply);
    });
    const auto evil = Submit(engine.get(), Generation(kForged, {text.begin(), text.begin() + 70}));
    std::vector<std::shared_ptr<RecordingSink>> sinks;
    for (const Request& request : honest) sinks.push_back(Submit(engine.get(), request));
    for (size_t i = 0; i < honest.size(); ++i) {
      ASSERT_TRUE(sinks[i]->AwaitDone().status.ok()) << sinks[i]->completion().status;
      EXPECT_TRUE(SameResults(sinks[i]->results(), expected[i])) << i;
    }
    // It has an answer, or is told that there is none; what it is told is finite.
    const absl::Status status = evil->AwaitDone().status;
    EXPECT_TRUE(status.ok() || absl::IsInternal(status)) << status;
    for (const SampleResult& result : evil->results()) {
      EXPECT_TRUE(std::isfinite(result.logprob));
      for (const TokenLogprob& token : result.top) EXPECT_TRUE(std::isfinite(token.logprob));
    }
    EXPECT_TRUE(engine->healthy());
    Await<SessionInfo>([&](Reply<SessionInfo> reply) { engine->DeleteSession(kForged, reply); });
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, ForgedStates, testing::Range(0, 12));

}  // namespace
}  // namespace retnet
