#include "models/load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <limits>

#include "tests/models/golden.h"
#include "tests/models/random_checkpoint.h"
#include "tests/models/safetensors_writer.h"

namespace retnet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// 8 tokens of vocabulary; one slot takes 2 · (8 · 16 + 64 · 24) floats.
std::string SmallCheckpoint() {
  return WriteRandomCheckpoint(
      {.config = R"({"vocab_size": 8, "hidden_size": 8, "num_hidden_layers": 2, "num_heads": 1,
                     "intermediate_size": 6})",
       .type = ElementType::kBFloat16});
}

TEST(LoadModel, SaysWhatItLoaded) {
  ModelOptions options;
  options.device = "cpu";
  options.threads = 1;
  options.slots = 3;
  options.max_rows = 17;
  options.instruction_set = "scalar";
  const auto model = LoadModel(GoldenFolder("base") + "/", options);
  ASSERT_TRUE(model.ok()) << model.status();
  const ModelInfo& info = (*model)->info();
  EXPECT_EQ(info.name, "base");
  EXPECT_EQ(info.vocab_size, 256);
  EXPECT_EQ(info.slots, 3);
  EXPECT_EQ(info.max_rows, 17);
  EXPECT_EQ(info.chunk, 64);
  EXPECT_EQ(info.backend, "cpu (scalar, 1 thread)");
  EXPECT_TRUE(info.states_in_host_memory);
  EXPECT_EQ(info.bos, 1);
  EXPECT_THAT(info.eos, ElementsAre(2));
  EXPECT_EQ(info.base_bytes, 4 * 3 * 4 * 32 * 64);
  EXPECT_EQ(info.tail_token_bytes, 4 * 3 * 4 * (32 + 64));
  EXPECT_EQ(info.base_type, ElementType::kFloat32);
  EXPECT_EQ(info.tail_type, ElementType::kFloat32);
  // All of the file but its header is parameters in fp32.
  EXPECT_NEAR(info.parameters,
              std::filesystem::file_size(GoldenFolder("base") + "/model.safetensors") / 4, 2000);
  // The matrices, all but at most 400 parameters of each layer; none of them needs padding.
  EXPECT_GE(info.weight_bytes, (info.parameters - 3 * 400) * 4);
  EXPECT_LT(info.weight_bytes, info.parameters * 4);
}

TEST(CheckpointName, IsTheFoldersOrTheRepositorysInACacheOfTheHub) {
  const std::filesystem::path root =
      testing::TempDir() + "checkpoint_name_" + std::to_string(getpid());
  const auto name_of = [&root](const std::string& path) {
    std::filesystem::create_directories(root / path);
    return CheckpointName((root / path).string());
  };
  EXPECT_EQ(name_of("retnet-1.3B"), "retnet-1.3B");
  EXPECT_EQ(name_of("retnet-1.3B/deeper/.."), "retnet-1.3B");
  EXPECT_EQ(name_of("models--acme--retnet-1.3B/snapshots/3f5a1c9d"), "acme/retnet-1.3B");
  EXPECT_EQ(name_of("models--acme--ret--net/snapshots/3f5a1c9d"), "acme/ret--net");
  EXPECT_EQ(name_of("models--bare/snapshots/3f5a1c9d"), "bare");
  EXPECT_EQ(name_of("others--acme--retnet/snapshots/3f5a1c9d"), "3f5a1c9d");
  EXPECT_EQ(name_of("models--acme--retnet/blobs/3f5a1c9d"), "3f5a1c9d");
  std::filesystem::remove_all(root);
}

TEST(LoadModel, HasTheNameThatIsGiven) {
  ModelOptions options;
  options.served_name = "storyteller";
  options.device = "cpu";
  const auto model = LoadModel(SmallCheckpoint(), options);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->info().name, "storyteller");
}

TEST(LoadModel, CountsSlotsFromTheFreeMemory) {
  ModelOptions options;
  options.state_memory_fraction = 0.5;
  const auto model = LoadModel(SmallCheckpoint(), options);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->info().slots, 1024);  // the states are small: the default maximum
  options.state_memory_fraction = 1e-15;
  EXPECT_EQ(LoadModel(SmallCheckpoint(), options).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(LoadModel, SlotsThatDoNotFitAreRefusedBeforeTheyAreMade) {
  const std::string directory = WriteRandomCheckpoint(
      {.config = R"({"vocab_size": 2, "hidden_size": 512, "num_hidden_layers": 1, "num_heads": 1,
                     "intermediate_size": 1, "expand_v": 4})"});
  ModelOptions options;
  options.slots = 1 << 20;  // 4 TiB of bases alone
  const auto model = LoadModel(directory, options);
  EXPECT_EQ(model.status().code(), absl::StatusCode::kResourceExhausted) << model.status();
  EXPECT_THAT(std::string(model.status().message()), HasSubstr("1048576 sequences"));
}

TEST(LoadModel, TheCpuRefusesStatesThatAreNotFp32) {
  for (const char* device : {"cpu", "auto"}) {
    for (const char* type : {"bf16", "fp16"}) {
      ModelOptions options;
      options.device = device;
      options.state_type = type;
      const absl::Status status = LoadModel(GoldenFolder("base"), options).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
      EXPECT_THAT(std::string(status.message()),
                  HasSubstr(absl::StrCat("--state-type is ", type, ", but the CPU keeps")));
    }
  }
  ModelOptions options;
  options.state_type = "int8";
  EXPECT_THAT(std::string(LoadModel(GoldenFolder("base"), options).status().message()),
              HasSubstr("state_type is int8; it must be fp32, bf16 or fp16"));
}

TEST(LoadModel, ADeviceThatIsNotThereIsUnavailable) {
  ModelOptions options;
  options.device = "cuda";
  const auto on_device = LoadModel(GoldenFolder("base"), options);
  if (on_device.ok()) {
    ASSERT_THAT((*on_device)->info().backend, HasSubstr("cuda"));
    EXPECT_FALSE((*on_device)->info().states_in_host_memory);
    GTEST_SKIP()
        << "there is a GPU; CudaAtStart.WithoutADeviceAutoServesOnTheCpuAndSaysWhy hides it";
  }
  const absl::Status& status = on_device.status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(status.message(), "");
  options.device = "auto";
  const auto model = LoadModel(GoldenFolder("base"), options);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_THAT((*model)->info().backend, HasSubstr("cpu"));
  EXPECT_EQ((*model)->info().device_note, status.message());
}

TEST(LoadModel, OptionsOutOfBoundsAreRefusedByName) {
  const auto expect = [](const ModelOptions& options, const std::string& name) {
    const auto model = LoadModel(GoldenFolder("base"), options);
    EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(model.status().message()), HasSubstr(name));
  };
  expect({.device = "tpu"}, "device is tpu");
  expect({.threads = -1}, "threads is -1");
  expect({.slots = -1}, "slots is -1");
  expect({.state_memory_fraction = 0}, "state_memory_fraction is 0");
  expect({.state_memory_fraction = std::numeric_limits<double>::quiet_NaN()},
         "state_memory_fraction");
  expect({.gpu_memory_fraction = 1.5}, "gpu_memory_fraction is 1.5");
  expect({.max_rows = 0}, "max_rows is 0");
  expect({.instruction_set = "mmx"}, "mmx");
}

TEST(LoadModel, TheGenerationConfigsIdsComeFirst) {
  const std::string directory = SmallCheckpoint();
  const std::string generation = directory + "/generation_config.json";
  WriteFile(generation, R"({"bos_token_id": 3, "eos_token_id": [4, 5]})");
  const auto model = LoadModel(directory, {});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->info().bos, 3);
  EXPECT_THAT((*model)->info().eos, ElementsAre(4, 5));
  WriteFile(generation, R"({"eos_token_id": 8})");
  const auto refused = LoadModel(directory, {});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("id 8"));
}

TEST(LoadModel, TellsItsProgressAndWhatItDoesNotUse) {
  std::vector<LoadProgress> told;
  const auto model = LoadModel(GoldenFolder("syncdoth-f32"), {.device = "cpu"},
                               [&](const LoadProgress& progress) { told.push_back(progress); });
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_THAT((*model)->info().unused_tensors, SizeIs(0));
  ASSERT_GT(told.size(), 60);
  int64_t before = 0;
  for (const LoadProgress& progress : told) {
    EXPECT_GT(progress.bytes, before);
    EXPECT_EQ(progress.total, told.front().total);
    before = progress.bytes;
  }
  EXPECT_EQ(before, told.front().total);
  EXPECT_STREQ(told.front().activity, "checking weights");
  EXPECT_STREQ(told.back().activity, "copying weights");
}

TEST(LoadModel, ALayoutThatIsNotServedIsRefusedInASentence) {
  const auto model = LoadModel(GoldenFolder("retnet-xatl"), {});
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(model.status().message()),
              HasSubstr("the layout is XATL (as NucleusAI/RetNet-410m-XATL), or syncdoth/RetNet of "
                        "July 2023: their biases and LayerNorms, and XATL's parallel residual, are "
                        "not supported"));
}

TEST(LoadModel, PyTorchsFilesAreToBeConverted) {
  const std::string directory = MakeTemporaryFolder();
  WriteFile(directory + "/pytorch_model.bin", "x");
  EXPECT_THAT(std::string(LoadModel(directory, {}).status().message()),
              HasSubstr("models/convert.py " + directory));
}

TEST(LoadModel, WhatIsNoCheckpointIsRefusedByName) {
  const auto model = LoadModel("/nowhere", {});
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(model.status().message()),
              HasSubstr("/nowhere: there is no such folder"));
}

}  // namespace
}  // namespace retnet
