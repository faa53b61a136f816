// The effect of a lossy state encoding on the tokens that follow: texts sampled from a model are
// scored from a state that went through a snapshot, and from a state that did not.
//   build-bench/state_encoding_error models/demo
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "engine/snapshots/snapshot.h"
#include "kernels/status_macros.h"
#include "models/load.h"
#include "tests/bench/transfers.h"

namespace retnet {
namespace {

constexpr int32_t kTexts = 20;
constexpr int32_t kRead = 500;       // tokens, of which the state is taken
constexpr int32_t kFollowing = 100;  // scored from there on

struct Score {
  std::vector<float> logprobs;  // of the following tokens
  std::vector<TokenId> best;    // what would have been taken for each
};

absl::StatusOr<std::vector<SampleResult>> Step(Model& model, const std::vector<TokenId>& tokens,
                                               const std::vector<RowOutput>& outputs) {
  const Segment segment = {
      .position = model.state(0).position, .tokens = tokens, .outputs = outputs};
  RETURN_IF_ERROR(model.Launch({&segment, 1}));
  StepResult result;
  RETURN_IF_ERROR(model.Wait(&result));
  return result.results;
}

absl::StatusOr<std::vector<TokenId>> SampleText(Model& model, uint64_t seed) {
  RETURN_IF_ERROR(model.Clear(0));
  std::vector<TokenId> text = {model.info().bos};
  while (text.size() < kRead + kFollowing) {
    const Sampling sampling = {.seed = seed, .draw = text.size()};
    ASSIGN_OR_RETURN(const auto results,
                     Step(model, {text.back()}, {{.request = {.sampling = sampling}}}));
    text.push_back(results[0].token);
  }
  return text;
}

absl::StatusOr<Score> ScoreFollowing(Model& model, const std::vector<TokenId>& text) {
  Score score;
  for (int32_t i = kRead - 1; i + 1 < text.size(); ++i) {
    ASSIGN_OR_RETURN(
        const auto results,
        Step(model, {text[i]}, {{.request = {.scored_token = text[i + 1], .top_logprobs = 1}}}));
    score.logprobs.push_back(results[0].logprob);
    score.best.push_back(results[0].top[0].token);
  }
  return score;
}

absl::StatusOr<Snapshot> ReadFirst(Model& model, AwaitedTransfers& transfers,
                                   const std::vector<TokenId>& text) {
  RETURN_IF_ERROR(model.Clear(0));
  RETURN_IF_ERROR(Step(model, {text.begin(), text.begin() + kRead - 1}, {}).status());
  Snapshot snapshot;
  snapshot.history.assign(text.begin(), text.begin() + kRead);
  snapshot.shape = model.state(0);
  auto state = std::make_shared<ByteVector>(model.StateBytes(snapshot.shape));
  transfers.Read(0, *state);
  transfers.Wait();
  snapshot.state = std::move(state);
  return snapshot;
}

// The mean and the greatest change of a log-probability, and how often another token is the best.
struct Change {
  double sum = 0;
  double greatest = 0;
  int32_t other_best = 0;
  int32_t tokens = 0;
};

absl::Status Compare(Model& model, AwaitedTransfers& transfers, const std::vector<TokenId>& text,
                     StateEncoding encoding, Change* change) {
  ASSIGN_OR_RETURN(const Snapshot exact, ReadFirst(model, transfers, text));
  ASSIGN_OR_RETURN(const Score expected, ScoreFollowing(model, text));
  const SnapshotFormat format = MakeSnapshotFormat(model.info(), encoding, /*zstd_level=*/0);
  ASSIGN_OR_RETURN(const std::string bytes, EncodeSnapshot(exact, format));
  ASSIGN_OR_RETURN(const Snapshot restored, DecodeSnapshot(bytes, format));
  RETURN_IF_ERROR(model.Clear(0));
  transfers.Write(*restored.state, restored.shape, 0);
  transfers.Wait();
  ASSIGN_OR_RETURN(const Score found, ScoreFollowing(model, text));
  for (size_t i = 0; i < found.best.size(); ++i) {
    const double difference = std::fabs(double{found.logprobs[i]} - expected.logprobs[i]);
    change->sum += difference;
    change->greatest = std::max(change->greatest, difference);
    change->other_best += found.best[i] != expected.best[i] ? 1 : 0;
    ++change->tokens;
  }
  return absl::OkStatus();
}

absl::Status Run(const char* directory) {
  ModelOptions options;
  options.device = "cpu";
  options.slots = 1;
  ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, LoadModel(directory, options));
  AwaitedTransfers transfers(model.get());
  Change changes[3];
  for (int32_t i = 0; i < kTexts; ++i) {
    ASSIGN_OR_RETURN(const std::vector<TokenId> text, SampleText(*model, i));
    for (const StateEncoding encoding :
         {StateEncoding::kExact, StateEncoding::kBf16, StateEncoding::kInt8}) {
      RETURN_IF_ERROR(
          Compare(*model, transfers, text, encoding, &changes[static_cast<int>(encoding)]));
    }
  }
  std::printf("at rest  mean |change|  greatest  other best token\n");
  const char* const names[] = {"exact", "bf16", "int8"};
  for (int i = 0; i < 3; ++i) {
    const Change& change = changes[i];
    std::printf("%-7s  %13.2e  %8.2e  %d of %d\n", names[i], change.sum / change.tokens,
                change.greatest, change.other_best, change.tokens);
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace retnet

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "usage: state_encoding_error MODEL_FOLDER\n");
    return 2;
  }
  const absl::Status status = retnet::Run(arguments[1]);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
