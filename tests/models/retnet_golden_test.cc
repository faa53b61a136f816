// Logits and states against those of the original code.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <string>

#include "kernels/element.h"
#include "models/config.h"
#include "tests/models/golden.h"
#include "tests/models/test_model.h"

namespace retnet {
namespace {

struct GoldenCase {
  Backend backend;
  Golden golden;
};

std::ostream& operator<<(std::ostream& stream, const GoldenCase& test) {
  return stream << test.backend.name << " " << test.golden.name;
}

std::vector<GoldenCase> Cases(const std::vector<Backend>& backends) {
  std::vector<GoldenCase> cases;
  for (const Backend& backend : backends) {
    for (const Golden& golden : Goldens()) {
      // The other sequences are short and would show nothing new about the rounding of bases.
      const bool rounds = std::set<std::string>{"base", "long"}.contains(golden.name);
      if (backend.base_type != ElementType::kFloat32 && !rounds) continue;
      cases.push_back({backend, golden});
    }
  }
  return cases;
}

std::vector<GoldenCase> CasesWithStates(const std::vector<Backend>& backends) {
  std::vector<GoldenCase> cases = Cases(backends);
  std::erase_if(cases, [](const GoldenCase& test) { return !test.golden.has_states; });
  return cases;
}

std::string CaseName(const ::testing::TestParamInfo<GoldenCase>& info) {
  std::string name = info.param.backend.name + "_" + info.param.golden.name;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

bool RoundsActivations(const GoldenCase& test) {
  return test.backend.rounds_tails || (test.backend.rounds_activations && test.golden.bf16_weights);
}

void ExpectWithinBounds(const GoldenCase& test, const std::vector<float>& logits,
                        const GoldenSequence& sequence) {
  const LogitsError error = CompareWithGolden(logits, sequence);
  if (RoundsActivations(test)) {
    EXPECT_LE(error.rms, 1.5 * sequence.bf16_rms_error);
    EXPECT_LE(error.max, 2 * sequence.bf16_max_error);
  } else {
    EXPECT_LE(error.max, test.golden.float32_bound);
  }
}

class RetNetGolden : public ::testing::TestWithParam<GoldenCase> {};

TEST_P(RetNetGolden, LogitsAreTheOriginalCodes) {
  const GoldenCase& test = GetParam();
  const std::vector<GoldenSequence> sequences = ReadGolden(test.golden.name);
  size_t longest = 0;
  for (const auto& sequence : sequences) longest = std::max(longest, sequence.tokens.size());
  const int64_t piece = test.backend.whole_only ? longest : 512;
  TestModel model = test.backend.make(GoldenFolder(test.golden.name), /*slots=*/2, piece);
  for (const GoldenSequence& sequence : sequences) {
    ExpectWithinBounds(test, model.Run(0, sequence.tokens, piece), sequence);
    ASSERT_TRUE(model->Clear(0).ok());
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, RetNetGolden, ::testing::ValuesIn(Cases(Backends())), CaseName);
INSTANTIATE_TEST_SUITE_P(TextbookForms, RetNetGolden, ::testing::ValuesIn(Cases(TextbookForms())),
                         CaseName);

class RetNetGoldenState : public ::testing::TestWithParam<GoldenCase> {};

// The state of the textbook is the base advanced by the tokens of the tail. The bytes are in the
// format of the concept Kernels.
std::vector<double> TextbookState(const RetNetConfig& config, const StateCopy& state,
                                  const Backend& backend, int32_t layer) {
  const HostTensor bases{backend.base_type, state.bytes.data()};
  const int64_t head_size = int64_t{config.key_dim} * config.value_dim;
  const int64_t layer_size = config.heads * head_size;
  const int64_t base_size = state.shape.base_position > 0 ? config.layers * layer_size : 0;
  std::vector<double> s(layer_size, 0.0);
  if (base_size > 0) {
    for (int64_t i = 0; i < layer_size; ++i) s[i] = ElementAt(bases, layer * layer_size + i);
  }
  const HostTensor tails{backend.rounds_tails ? ElementType::kBFloat16 : ElementType::kFloat32,
                         bases.data + base_size * SizeOf(backend.base_type)};
  const int64_t keys = int64_t{config.kv_heads} * config.key_dim;
  const int64_t values = int64_t{config.kv_heads} * config.value_dim;
  const int32_t group = config.heads / config.kv_heads;
  for (int32_t t = 0; t < state.shape.position - state.shape.base_position; ++t) {
    const int64_t token = t * config.layers * (keys + values);
    const int64_t k = token + layer * keys;
    const int64_t v = token + config.layers * keys + layer * values;
    for (int64_t i = 0; i < layer_size; ++i) {
      const int64_t head = i / head_size;
      const int64_t row = i % head_size / config.value_dim;
      const int64_t column = i % config.value_dim;
      s[i] = config.decay[head] * s[i] +
             double{ElementAt(tails, k + head / group * config.key_dim + row)} *
                 ElementAt(tails, v + head / group * config.value_dim + column);
    }
  }
  return s;
}

TEST_P(RetNetGoldenState, StatesAreTheOriginalCodes) {
  const GoldenCase& test = GetParam();
  const auto config = ReadConfig(GoldenFolder(test.golden.name));
  ASSERT_TRUE(config.ok());
  TestModel model =
      test.backend.make(GoldenFolder(test.golden.name), /*slots=*/2, /*max_rows=*/512);
  for (const GoldenSequence& sequence : ReadGolden(test.golden.name)) {
    model.Run(0, sequence.tokens, 100);
    const StateCopy state = model.Read(0);
    ASSERT_FALSE(sequence.states.empty());
    for (const auto& [layer, expected] : sequence.states) {
      const std::vector<double> actual = TextbookState(*config, state, test.backend, layer);
      ASSERT_EQ(actual.size(), expected.size());
      double largest = 0;
      double error = 0;
      for (size_t i = 0; i < expected.size(); ++i) {
        largest = std::max(largest, std::abs(double{expected[i]}));
        const double difference = std::abs(actual[i] - expected[i]);
        error = difference <= error ? error : difference;  // NaN stays
      }
      ASSERT_GT(largest, 0);
      EXPECT_LE(error, (RoundsActivations(test) ? 3e-2 : 2e-5) * largest) << "layer " << layer;
    }
    ASSERT_TRUE(model->Clear(0).ok());
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, RetNetGoldenState,
                         ::testing::ValuesIn(CasesWithStates(Backends())), CaseName);

}  // namespace
}  // namespace retnet
