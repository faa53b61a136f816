// Steps that are launched before the results of the previous step are known, on every backend.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "tests/models/random_checkpoint.h"
#include "tests/models/step_script.h"
#include "tests/models/test_model.h"

namespace retnet {
namespace {

constexpr int32_t kSlots = 5;
constexpr int32_t kVocabulary = 97;

std::string Folder() {
  return WriteRandomCheckpoint(
      {.config = R"({"vocab_size": 97, "hidden_size": 24, "num_hidden_layers": 2, "num_heads": 3,
                     "intermediate_size": 40})"});
}

TEST(RetNetAhead, TwoStepsInFlightAreThoseOneAfterAnother) {
  const std::string folder = Folder();
  for (const uint32_t seed : {1u, 2u}) {
    const StepScript script(kSlots, kVocabulary, /*steps=*/60, seed);
    EXPECT_GT(script.decode_steps(), 20);
    for (const Backend& backend : UnrecordedBackends()) {
      SCOPED_TRACE(backend.name);
      TestModel one = backend.make(folder, kSlots, /*max_rows=*/500);
      TestModel two = backend.make(folder, kSlots, /*max_rows=*/500);
      ExpectSameResults(script.Run(one, /*ahead=*/false), script.Run(two, /*ahead=*/true));
    }
  }
}

// Feeds the next token of a slot and samples the one after it.
class NextToken {
 public:
  NextToken(TestModel& model, SlotId slot, TokenId token) : token_{token} {
    output_.request.sampling.temperature = 0;
    output_.request.logprob = true;
    segment_ = {slot, model->state(slot).position, RowClass::kSampled, token_, {&output_, 1}};
    EXPECT_TRUE(model->Launch({&segment_, 1}).ok());
  }

 private:
  std::array<TokenId, 1> token_;
  RowOutput output_;
  Segment segment_;
};

std::vector<SampleResult> Wait(TestModel& model) {
  StepResult result;
  EXPECT_TRUE(model->Wait(&result).ok());
  return result.results;
}

TEST(RetNetAhead, TransfersSeeEarlierStepsAndOverlapLaterOnes) {
  const std::string folder = Folder();
  for (const Backend& backend : UnrecordedBackends()) {
    SCOPED_TRACE(backend.name);
    TestModel model = backend.make(folder, kSlots, /*max_rows=*/200);
    TestModel alone = backend.make(folder, kSlots, /*max_rows=*/200);
    const auto prompt = RandomTokens(64, kVocabulary, 5);  // the next token folds
    for (TestModel* each : {&model, &alone}) each->Run(0, prompt, 64);
    model.Run(1, prompt, 64);
    const NextToken expected(alone, 0, 7);
    Wait(alone);
    const StateCopy expected_state = alone.Read(0);

    const NextToken before(model, 0, 7);
    std::vector<std::byte> bytes(model->StateBytes(model->state(0)));
    const auto read = model->StartRead(0, bytes);
    const NextToken beside(model, 1, 8);
    Wait(model);
    Wait(model);
    model.WaitFor(read);
    EXPECT_TRUE(bytes == expected_state.bytes);

    const NextToken more(model, 1, 9);
    const auto write = model->StartWrite(bytes, expected_state.shape, 2);
    const NextToken and_more(model, 1, 10);
    model.WaitFor(write);
    Wait(model);
    Wait(model);
    const NextToken restored(model, 2, 11);
    const NextToken original(alone, 0, 11);
    ExpectSameResults(Wait(model), Wait(alone));
  }
}

}  // namespace
}  // namespace retnet
