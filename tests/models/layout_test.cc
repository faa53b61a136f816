// Layouts of checkpoints, recognised by their tensors.
#include "models/layout.h"

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/position_buffers.h"
#include "models/stored_model.h"
#include "tests/models/golden.h"
#include "tests/models/random_checkpoint.h"
#include "tests/models/safetensors_writer.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;

std::string Floats(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

Checkpoint CheckpointOf(const std::vector<TensorToWrite>& tensors) {
  const std::string directory = MakeTemporaryFolder();
  WriteFile(directory + "/model.safetensors", SafetensorsBytes(tensors));
  return *Checkpoint::Open(directory);
}

TEST(Layout, ThatIsNotServedIsNamedByOneOfItsTensors) {
  const std::pair<const char*, const char*> cases[] = {
      {"model.blocks.0.msr.qkv.weight", "syncdoth/RetNet from before October 2023"},
      {"decoder.layers.0.linear1.weight", "yet-another-retnet"},
      {"layers.0.retentions.0.W_Q", "Jamie-Stirling/RetNet"},
      {"model.layers.0.self_attn.gt_proj.weight", "YOCO"},
      {"model.layers.0.ffn.experts.0.fc1.weight", "mixture of experts"},
      {"decoder.layers.0.retention.q_proj.weight", "torchscale, whose file models/convert.py"},
      {"model.layers.0.attn.q_conv1d.weight", "short convolutions"},
      {"model.layers.0.ffn.ffn_layernorm.weight", "norm inside the feed-forward part"},
      {"model.layers.0.retention.group_norm.weight", "groupnorm_affine"},
      {"model.layers.0.attn.q_proj.bias", "biases (tensor model.layers.0.attn.q_proj.bias)"},
  };
  for (const auto& [tensor, name] : cases) {
    const absl::Status status =
        CheckLayout(CheckpointOf({{tensor, ElementType::kFloat32, {1}, "abcd"}}));
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(std::string("the layout is ")));
    EXPECT_THAT(std::string(status.message()), HasSubstr(name));
  }
}

TEST(Layout, ThatIsServedIsNotRefused) {
  for (const char* golden : {"base", "syncdoth-f32", "fla-fused-mlp-grouped"}) {
    EXPECT_TRUE(CheckLayout(*Checkpoint::Open(GoldenFolder(golden))).ok()) << golden;
  }
}

TEST(StoredModel, HasTheFilesAnglesWhereTheyAreRounded) {
  const auto exact = OpenStoredModel(GoldenFolder("syncdoth-f32"));
  ASSERT_TRUE(exact.ok()) << exact.status();
  const auto formula = ReadConfig(GoldenFolder("syncdoth-f32"));
  EXPECT_EQ(exact->config.theta, formula->theta);
  EXPECT_EQ(exact->config.decay, formula->decay);
  for (const char* golden : {"syncdoth-bf16", "syncdoth-f16"}) {
    const auto rounded = OpenStoredModel(GoldenFolder(golden));
    ASSERT_TRUE(rounded.ok()) << rounded.status();
    EXPECT_NE(rounded->config.theta, formula->theta) << golden;
    EXPECT_NE(rounded->config.decay, formula->decay) << golden;
  }
}

TEST(PositionBuffers, ThatAreNoAnglesOrDecaysAreRefused) {
  const auto read = [](std::vector<float> angles, std::vector<float> logs) {
    RetNetConfig config = *ReadConfig(GoldenFolder("syncdoth-f32"));
    config.key_dim = 4;
    config.heads = 2;
    config.theta = {1.0, 1e-4};
    config.decay = {0.5f, 0.75f};
    return ReadPositionBuffers(
        CheckpointOf({{kSyncdothLayout.angles,
                       ElementType::kFloat32,
                       {static_cast<int64_t>(angles.size())},
                       Floats(angles)},
                      {kSyncdothLayout.log_decays, ElementType::kFloat32, {2}, Floats(logs)}}),
        &config);
  };
  EXPECT_TRUE(read({1, 1, 0.5, 0.5}, {-0.1f, -0.2f}).ok());
  EXPECT_THAT(std::string(read({1, 1, 0.5, 0.25}, {-0.1f, -0.2f}).message()),
              HasSubstr("angle: must have each angle twice"));
  EXPECT_FALSE(read({1, 1, -0.5, -0.5}, {-0.1f, -0.2f}).ok());
  EXPECT_THAT(std::string(read({1, 1}, {-0.1f, -0.2f}).message()), HasSubstr("shape [2]"));
  EXPECT_THAT(std::string(read({1, 1, 0.5, 0.5}, {-0.1f, 0.0f}).message()),
              HasSubstr("decay: must have logarithms"));
  EXPECT_FALSE(read({1, 1, 0.5, 0.5}, {-0.1f, -std::numeric_limits<float>::infinity()}).ok());
}

}  // namespace
}  // namespace retnet
