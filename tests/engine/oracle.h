// What a request gives on the fake model, by definition: alone, token by token, everything
// recomputed.
#ifndef RETNET_TESTS_ENGINE_ORACLE_H_
#define RETNET_TESTS_ENGINE_ORACLE_H_

#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "engine/request.h"
#include "engine/states/token_history.h"
#include "tests/engine/fake_model.h"

namespace retnet {

struct Expected {
  std::vector<SampleResult> results;
  FinishReason reason = FinishReason::kStop;
  TokenId stop_token = kNoToken;
};

// The edits of the token after `output`, from the definitions of the penalties.
std::vector<LogitEdit> ExpectedEdits(const Request& request, std::span<const TokenId> output);

// The request's prompt follows `session`'s tokens, whose classes count where the model says so.
Expected ExpectedOf(const FakeModelOptions& options, const Request& request, int32_t context_length,
                    const TokenHistory& session = {});

// A valid request of any kind, with any of the fields set.
Request RandomRequest(const FakeModelOptions& options, int32_t context_length,
                      std::mt19937& random);

// Equal, NaN where NaN is expected.
bool SameResults(std::span<const SampleResult> actual, std::span<const SampleResult> expected);

}  // namespace retnet

#endif  // RETNET_TESTS_ENGINE_ORACLE_H_
