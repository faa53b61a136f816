// Makes the TestModel of a backend. With RecordingKernels, it keeps the logits.
#ifndef RETNET_TESTS_MODELS_RECORDING_MODEL_H_
#define RETNET_TESTS_MODELS_RECORDING_MODEL_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/kernels.h"
#include "models/device_weights.h"
#include "models/retnet.h"
#include "models/stored_model.h"
#include "tests/kernels/numbers_on_host.h"
#include "tests/models/test_model.h"

namespace retnet {

// A backend that keeps a copy of all logits that it samples or scores.
template <Kernels K>
class RecordingKernels : public K {
 public:
  using K::K;
  explicit RecordingKernels(K&& kernels) : K(std::move(kernels)) {}

  void RecordTo(std::vector<float>* logits) { logits_ = logits; }
  void Sample(MatrixView<const float> logits, std::span<const SampleRequest> requests,
              std::span<const int32_t> keep_in, typename K::LastTokens& last_tokens,
              std::span<SampleResult> results) {
    const std::vector<float> numbers =
        NumbersOnHost(static_cast<const K&>(*this), logits.data, logits.rows * logits.columns);
    logits_->insert(logits_->end(), numbers.begin(), numbers.end());
    K::Sample(logits, requests, keep_in, last_tokens, results);
  }

 private:
  std::vector<float>* logits_ = nullptr;
};

template <typename K>
TestModel MakeTestModel(const std::string& directory, std::unique_ptr<K> kernels, int32_t slots,
                        int32_t max_rows, RowClass row_class = RowClass::kPrompt,
                        ElementType base_type = ElementType::kFloat32) {
  const auto stored = OpenStoredModel(directory);
  EXPECT_TRUE(stored.ok()) << stored.status();
  auto logits = std::make_unique<std::vector<float>>();
  if constexpr (requires { kernels->RecordTo(logits.get()); }) kernels->RecordTo(logits.get());
  auto packed = DeviceWeights<K>::Pack(*kernels, stored->weights);
  EXPECT_TRUE(packed.ok()) << packed.status();
  ModelInfo info;
  info.slots = slots;
  info.max_rows = max_rows;
  info.base_type = base_type;
  auto model =
      RetNet<K>::Create(std::move(kernels), stored->config, *std::move(packed), std::move(info));
  EXPECT_TRUE(model.ok()) << model.status();
  return {*std::move(model), std::move(logits), row_class};
}

}  // namespace retnet

#endif  // RETNET_TESTS_MODELS_RECORDING_MODEL_H_
