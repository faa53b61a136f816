// The results of a sequence depend only on its tokens, bit for bit. They do not depend on how it
// was cut into steps, on other sequences of the step, on where its state was kept, or on truncated
// tokens.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "models/config.h"
#include "tests/models/random_checkpoint.h"
#include "tests/models/test_model.h"

namespace retnet {
namespace {

// Shapes whose sizes are no multiples of vector or tile sizes.
struct ShapeCase {
  std::string name;
  CheckpointShape shape;
};

std::vector<ShapeCase> Shapes() {
  return {
      {"three_heads",
       {.config = R"({"vocab_size": 97, "hidden_size": 42, "num_hidden_layers": 2, "num_heads": 3,
                      "intermediate_size": 53})",
        .type = ElementType::kBFloat16}},
      {"five_heads_and_our_keys",
       {.config = R"({"vocab_size": 131, "hidden_size": 50, "num_hidden_layers": 2, "num_heads": 5,
                      "intermediate_size": 71, "tie_word_embeddings": true, "norm_eps": 1e-5,
                      "mlp_hidden_act": "gelu", "rotary_base": 500, "rotary_endpoint": true,
                      "embedding_multiplier": 7.07, "decay": [0.9, 0.95, 0.97, 0.99, 0.999]})",
        .type = ElementType::kFloat16,
        .embeddings_norm = true}},
      {"grouped_plain",
       {.config = R"({"vocab_size": 33, "hidden_size": 36, "num_hidden_layers": 3, "num_heads": 6,
                      "num_kv_heads": 2, "expand_v": 1, "use_output_gate": false,
                      "elementwise_affine": false, "intermediate_size": 19})"}},
  };
}

struct Case {
  Backend backend;
  ShapeCase shape;
};

// The cases whose weights make a row exact among any number of rows (`exact`), or only if the
// number of rows is a multiple of four.
std::vector<Case> Cases(bool exact) {
  std::vector<Case> cases;
  for (const Backend& backend : Backends()) {
    for (const ShapeCase& shape : Shapes()) {
      // The tests of Retention cover other base types with the other shapes.
      if (backend.base_type != ElementType::kFloat32 && shape.name != "three_heads") continue;
      const bool is_exact = backend.exact_in_float32 || shape.shape.type != ElementType::kFloat32;
      if (is_exact == exact) cases.push_back({backend, shape});
    }
  }
  return cases;
}

std::ostream& operator<<(std::ostream& stream, const Case& test) {
  return stream << test.backend.name << " " << test.shape.name;
}

// Compares bits, so that NaN and the sign of zero count too.
void ExpectSameBits(const std::vector<float>& actual, const std::vector<float>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  ASSERT_FALSE(
      std::any_of(expected.begin(), expected.end(), [](float x) { return std::isnan(x); }));
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_EQ(std::memcmp(&actual[i], &expected[i], sizeof(float)), 0)
        << "logit " << i << ": " << actual[i] << " and " << expected[i];
  }
}

class RetNetExactness : public ::testing::TestWithParam<Case> {
 protected:
  RetNetExactness() {
    static auto* folders = new std::map<std::string, std::string>();
    std::string& folder = (*folders)[GetParam().shape.name];
    if (folder.empty()) folder = WriteRandomCheckpoint(GetParam().shape.shape);
    folder_ = folder;
  }

  TestModel Make(int32_t slots) const {
    return GetParam().backend.make(folder_, slots, /*max_rows=*/320);
  }
  std::vector<TokenId> Tokens(int64_t count, uint32_t seed) const {
    return RandomTokens(count, 33, seed);
  }
  // The logits of `tokens`, computed alone in one step.
  std::vector<float> Whole(std::span<const TokenId> tokens) const {
    return Make(/*slots=*/1).Run(0, tokens, 320);
  }
  // The rows of `logits` from `first` on.
  std::vector<float> Rows(TestModel& model, const std::vector<float>& logits, int64_t first,
                          int64_t count) const {
    const int64_t vocabulary = model->info().vocab_size;
    return {logits.begin() + first * vocabulary, logits.begin() + (first + count) * vocabulary};
  }

  std::string folder_;
};

TEST_P(RetNetExactness, CutAnywhereIsWhole) {
  const auto tokens = Tokens(200, 1);
  const auto whole = Whole(tokens);
  TestModel model = Make(/*slots=*/1);
  for (const int64_t piece : {1, 7, 63, 64, 65, 130}) {
    SCOPED_TRACE(piece);
    ExpectSameBits(model.Run(0, tokens, piece), whole);
    ASSERT_TRUE(model->Clear(0).ok());
  }
}

TEST_P(RetNetExactness, BatchedIsAlone) {
  TestModel model = Make(/*slots=*/5);
  // Sequence s starts s steps late and runs s + 1 … tokens a step, so that phases on the grid
  // differ.
  std::vector<std::vector<TokenId>> tokens;
  std::vector<std::vector<float>> logits(5);
  for (int32_t s = 0; s < 5; ++s) tokens.push_back(Tokens(150, 10 + s));
  const int64_t pieces[] = {1, 64, 3, 50, 17};
  std::vector<size_t> done(5, 0);
  for (int64_t step = 0; done != std::vector<size_t>(5, 150); ++step) {
    std::vector<Feed> feeds;
    for (int32_t s = std::min<int64_t>(step, 4); s >= 0; --s) {
      const size_t count = std::min<size_t>(pieces[s], 150 - done[s]);
      if (count > 0) feeds.push_back({s, std::span(tokens[s]).subspan(done[s], count)});
    }
    const auto all = model.Step(feeds);
    int64_t row = 0;
    for (const Feed& feed : feeds) {
      const auto rows = Rows(model, all, row, feed.tokens.size());
      logits[feed.slot].insert(logits[feed.slot].end(), rows.begin(), rows.end());
      row += feed.tokens.size();
      done[feed.slot] += feed.tokens.size();
    }
  }
  for (int32_t s = 0; s < 5; ++s) {
    SCOPED_TRACE(s);
    ExpectSameBits(logits[s], Whole(tokens[s]));
  }
}

TEST_P(RetNetExactness, TakenBackAndRedoneIsNeverDone) {
  const auto tokens = Tokens(200, 2);
  const auto others = Tokens(64, 3);
  const auto whole = Whole(tokens);
  TestModel model = Make(/*slots=*/1);
  // Each stop leaves `taken` more tokens room before a fold would make them final.
  for (const auto& [stop, taken] : {std::pair(10, 54), {64, 0}, {70, 1}, {100, 28}, {192, 0}}) {
    SCOPED_TRACE(stop);
    auto logits = model.Run(0, std::span(tokens).first(stop), 50);
    if (taken > 0) model.Step(0, std::span(others).first(taken));
    ASSERT_TRUE(model->Truncate(0, stop).ok());
    const auto rest = model.Run(0, std::span(tokens).subspan(stop), 200);
    logits.insert(logits.end(), rest.begin(), rest.end());
    ExpectSameBits(logits, whole);
    ASSERT_TRUE(model->Clear(0).ok());
  }
}

TEST_P(RetNetExactness, ABaseWithAnEmptyTailIsOneWithAFullTail) {
  const auto tokens = Tokens(200, 4);
  const auto whole = Whole(tokens);
  TestModel model = Make(/*slots=*/1);
  model.Run(0, std::span(tokens).first(130), 130);
  ASSERT_EQ(model->state(0).base_position, 128);
  ASSERT_TRUE(model->Truncate(0, 128).ok());
  const auto rest = model.Run(0, std::span(tokens).subspan(128), 320);
  ExpectSameBits(rest, Rows(model, whole, 128, 72));
}

TEST_P(RetNetExactness, ForkIsACopy) {
  const auto tokens = Tokens(200, 5);
  const auto branch = Tokens(100, 6);
  for (const int32_t at : {0, 5, 64, 100, 128}) {
    SCOPED_TRACE(at);
    // With two slots, the second fork to fold finds no free base. It folds in place, after the
    // first.
    TestModel model = Make(/*slots=*/2);
    model.Run(0, std::span(tokens).first(at), 320);
    ASSERT_TRUE(model->Fork(0, 1).ok());
    const int64_t count = std::min(99, 200 - at);
    const auto both =
        model.Step(std::vector<Feed>{{1, branch}, {0, std::span(tokens).subspan(at, count)}});
    std::vector<TokenId> branched(tokens.begin(), tokens.begin() + at);
    branched.insert(branched.end(), branch.begin(), branch.end());
    ExpectSameBits(Rows(model, both, 0, 100), Rows(model, Whole(branched), at, 100));
    ExpectSameBits(Rows(model, both, 100, count), Rows(model, Whole(tokens), at, count));
  }
}

TEST_P(RetNetExactness, ForksOfOneBaseDecodeInOneStep) {
  const auto tokens = Tokens(130, 7);
  TestModel model = Make(/*slots=*/4);
  model.Run(0, tokens, 320);
  std::vector<std::vector<TokenId>> branches;
  std::vector<std::vector<float>> logits(4);
  for (SlotId s = 0; s < 4; ++s) {
    ASSERT_TRUE(s == 0 || model->Fork(0, s).ok());
    branches.push_back(Tokens(70, 20 + s));
  }
  for (int64_t i = 0; i < 70; ++i) {  // all four fold their shared base in one and the same step
    std::vector<Feed> feeds;
    for (SlotId s = 0; s < 4; ++s) feeds.push_back({s, std::span(branches[s]).subspan(i, 1)});
    const auto step = model.Step(feeds);
    for (SlotId s = 0; s < 4; ++s) {
      const auto row = Rows(model, step, s, 1);
      logits[s].insert(logits[s].end(), row.begin(), row.end());
    }
  }
  for (SlotId s = 0; s < 4; ++s) {
    std::vector<TokenId> whole = tokens;
    whole.insert(whole.end(), branches[s].begin(), branches[s].end());
    ExpectSameBits(logits[s], Rows(model, Whole(whole), 130, 70));
  }
}

TEST_P(RetNetExactness, SnapshotsRestoreEveryBit) {
  const auto tokens = Tokens(200, 8);
  const auto whole = Whole(tokens);
  TestModel model = Make(/*slots=*/3);
  TestModel other = Make(/*slots=*/1);
  for (const int32_t at : {0, 1, 63, 64, 65, 128, 150}) {
    SCOPED_TRACE(at);
    model.Run(2, std::span(tokens).first(at), 320);
    const StateCopy state = model.Read(2);
    ASSERT_TRUE(model->Clear(2).ok());
    model.Run(0, Tokens(90, 9), 320);  // something else in the memory
    model.Write(state, 1);
    other.Write(state, 0);
    const auto rest = std::span(tokens).subspan(at);
    ExpectSameBits(model.Run(1, rest, 320), Rows(model, whole, at, rest.size()));
    ExpectSameBits(other.Run(0, rest, 1), Rows(model, whole, at, rest.size()));
    EXPECT_EQ(model.Read(1).bytes, other.Read(0).bytes);
    for (SlotId s = 0; s < 3; ++s) ASSERT_TRUE(model->Clear(s).ok());
    ASSERT_TRUE(other->Clear(0).ok());
  }
}

TEST_P(RetNetExactness, SlotsAreAllAlikeAndReusable) {
  const auto tokens = Tokens(140, 11);
  const auto whole = Whole(tokens);
  TestModel model = Make(/*slots=*/3);
  for (const SlotId slot : {2, 0, 1, 1, 2, 0}) {
    ExpectSameBits(model.Run(slot, tokens, 90), whole);
    ASSERT_TRUE(model->Clear(slot).ok());
  }
}

TEST_P(RetNetExactness, AStepThatIsRefusedChangesNothing) {
  const auto tokens = Tokens(150, 12);
  TestModel model = Make(/*slots=*/2);
  auto logits = model.Step(0, std::span(tokens).first(100));
  const TokenId good = 1;
  const TokenId bad = model->info().vocab_size;
  std::vector<Segment> segments(2);
  segments[0].position = 100;
  segments[0].tokens = {&good, 1};
  segments[1].slot = 1;
  segments[1].tokens = {&bad, 1};
  EXPECT_EQ(model->Launch(segments).code(), absl::StatusCode::kInvalidArgument);
  const auto rest = model.Step(0, std::span(tokens).subspan(100));
  logits.insert(logits.end(), rest.begin(), rest.end());
  ExpectSameBits(logits, Whole(tokens));
}

// An empty state has no position: the rotation is relative.
TEST_P(RetNetExactness, FarPositionsAreLikeTheFirst) {
  const auto tokens = Tokens(150, 13);
  const auto whole = Whole(tokens);
  TestModel model = Make(/*slots=*/1);
  StateCopy far{{.base_position = 102400, .position = 102400}, {}};
  far.bytes.resize(model->StateBytes(far.shape), std::byte{0});
  model.Write(far, 0);
  const auto logits = model.Run(0, tokens, 97);
  ASSERT_EQ(logits.size(), whole.size());
  // Where tails are rounded, a rotated k rounds differently at another position.
  const Backend& backend = GetParam().backend;
  const double bound = backend.rounds_tails ? 0.2 : backend.rounds_activations ? 0.1 : 2e-4;
  for (size_t i = 0; i < logits.size(); ++i) {
    ASSERT_LE(std::abs(logits[i] - whole[i]), bound) << "logit " << i;
  }
  EXPECT_EQ(model->state(0).position, 102550);
}

std::string CaseName(const ::testing::TestParamInfo<Case>& info) {
  std::string name = info.param.backend.name + "_" + info.param.shape.name;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Backends, RetNetExactness, ::testing::ValuesIn(Cases(/*exact=*/true)),
                         CaseName);

// For a library of matrix products (or its emulation) that computes four rows at a time.
class RetNetExactnessByFours : public RetNetExactness {};

TEST_P(RetNetExactnessByFours, CutAndBatchedIsWholeAndAlone) {
  const auto tokens = Tokens(200, 14);
  const auto others = Tokens(200, 15);
  const auto whole = Whole(tokens);
  TestModel model = Make(/*slots=*/2);
  for (const int64_t piece : {4, 60, 64, 68, 132}) {
    SCOPED_TRACE(piece);
    std::vector<float> logits;
    for (int64_t done = 0; done < 200; done += piece) {
      const int64_t count = std::min(piece, 200 - done);
      const int64_t beside = done / piece % 3 * 4;  // rows of another sequence, before ours
      std::vector<Feed> feeds = {{0, std::span(tokens).subspan(done, count)}};
      if (beside > 0) feeds.insert(feeds.begin(), {1, std::span(others).first(beside)});
      const auto rows = Rows(model, model.Step(feeds), beside, count);
      logits.insert(logits.end(), rows.begin(), rows.end());
    }
    ExpectSameBits(logits, whole);
    for (SlotId s = 0; s < 2; ++s) ASSERT_TRUE(model->Clear(s).ok());
  }
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(RetNetExactnessByFours);
INSTANTIATE_TEST_SUITE_P(Backends, RetNetExactnessByFours,
                         ::testing::ValuesIn(Cases(/*exact=*/false)), CaseName);

}  // namespace
}  // namespace retnet
