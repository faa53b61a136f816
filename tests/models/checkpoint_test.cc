#include "models/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <span>
#include <string>

#include "models/config.h"
#include "models/weights.h"
#include "tests/models/golden.h"
#include "tests/models/random_checkpoint.h"
#include "tests/models/safetensors_writer.h"

namespace retnet {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

void ExpectRefused(const absl::Status& status, const std::string& file, const std::string& what) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(file), HasSubstr(what)));
}

std::string OneTensorFile() {
  return SafetensorsBytes({{"a", ElementType::kFloat32, {1}, "abcd"}});
}

TEST(Checkpoint, OpensShardsByTheirIndex) {
  const auto checkpoint = Checkpoint::Open(GoldenFolder("sharded"));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const auto* tensor = checkpoint->Find("model.norm.weight");
  ASSERT_NE(tensor, nullptr);
  EXPECT_EQ(tensor->stored.type, "F16");
  EXPECT_EQ(checkpoint->Find("model.norm"), nullptr);
}

TEST(Checkpoint, AFolderWithoutWeightsIsRefused) {
  const std::string directory = MakeTemporaryFolder();
  ExpectRefused(Checkpoint::Open(directory).status(), directory, "neither model.safetensors nor");
}

TEST(Checkpoint, ABadShardIsRefusedByName) {
  const std::string directory = MakeTemporaryFolder();
  const std::string index = directory + "/model.safetensors.index.json";
  WriteFile(directory + "/one.safetensors", OneTensorFile());
  WriteFile(directory + "/../outside.safetensors", OneTensorFile());
  WriteFile(directory + "/cut.safetensors", OneTensorFile().substr(0, 40));

  WriteFile(index, R"({"weight_map": {"a": "one.safetensors"}})");
  EXPECT_TRUE(Checkpoint::Open(directory).ok());
  WriteFile(index, R"({"weight_map": {"a": "two.safetensors"}})");
  ExpectRefused(Checkpoint::Open(directory).status(), "two.safetensors", "No such file");
  WriteFile(index, R"({"weight_map": {"b": "one.safetensors"}})");
  ExpectRefused(Checkpoint::Open(directory).status(), "one.safetensors", "tensor b");
  WriteFile(index, R"({"weight_map": {"a": "cut.safetensors"}})");
  ExpectRefused(Checkpoint::Open(directory).status(), "cut.safetensors", "truncated");
  for (const char* file :
       {R"("../outside.safetensors")", R"("/etc/x.safetensors")", R"("config.json")", R"("")",
        R"("..")", R"(7)", R"("one.safetensors\u0000.safetensors")"}) {
    WriteFile(index, std::string(R"({"weight_map": {"a": )") + file + "}}");
    ExpectRefused(Checkpoint::Open(directory).status(), index, "tensor a");
  }
  for (const char* text : {"{}", R"({"weight_map": {}})", R"({"weight_map": 3})", "no"}) {
    WriteFile(index, text);
    ExpectRefused(Checkpoint::Open(directory).status(), index, "");
  }
}

TEST(Checkpoint, AFolderInPlaceOfAFileIsRefused) {
  const std::string directory = MakeTemporaryFolder();
  ExpectRefused(MappedFile::Open(directory).status(), directory, "not a regular file");
  EXPECT_EQ(MappedFile::Open(directory + "/x").status().code(), absl::StatusCode::kNotFound);
}

// Of this process's memory, the bytes in RAM that are a file's.
int64_t ResidentFileBytes() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with("RssFile:")) return std::stoll(line.substr(8)) * 1024;
  }
  ADD_FAILURE() << "no RssFile in /proc/self/status";
  return 0;
}

TEST(MappedFile, ReleasesWhatWasReadAndHasItStill) {
  constexpr int64_t kMiB = 1 << 20;
  const std::string path = MakeTemporaryFolder() + "/file";
  WriteFile(path, std::string(32 * kMiB, 'x'));
  const auto file = MappedFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  const std::span<const std::byte> bytes = file->bytes();
  const auto count = [&] { return std::count(bytes.begin(), bytes.end(), std::byte{'x'}); };
  const int64_t before = ResidentFileBytes();
  EXPECT_EQ(count(), 32 * kMiB);
  const int64_t read = ResidentFileBytes();
  EXPECT_GT(read, before + 28 * kMiB);
  // All but a part that ends in the midst of a page.
  file->Release(bytes.subspan(kMiB + 5));
  EXPECT_LT(ResidentFileBytes(), read - 28 * kMiB);
  EXPECT_EQ(count(), 32 * kMiB);
  // What is not of the file is let alone.
  const std::string foreign(kMiB, 'y');
  file->Release(std::as_bytes(std::span(foreign)));
  EXPECT_EQ(foreign, std::string(kMiB, 'y'));
}

class Weights : public ::testing::Test {
 protected:
  Weights() {
    const std::string text =
        R"({"vocab_size": 7, "hidden_size": 4, "num_hidden_layers": 1, "num_heads": 1,
            "intermediate_size": 3})";
    config_ = *ParseConfig(text, "config.json");
    const auto checkpoint = Checkpoint::Open(WriteRandomCheckpoint({.config = text}));
    for (const auto& [name, tensor] : checkpoint->tensors()) {
      const auto* bytes = reinterpret_cast<const char*>(tensor.stored.bytes.data());
      tensors_.push_back({name, ElementType::kFloat32, tensor.stored.shape,
                          std::string(bytes, tensor.stored.bytes.size())});
    }
  }

  TensorToWrite& Tensor(const std::string& name) {
    for (auto& tensor : tensors_) {
      if (tensor.name == name) return tensor;
    }
    ADD_FAILURE() << name;
    return tensors_[0];
  }

  absl::Status Find() const {
    const std::string directory = MakeTemporaryFolder();
    WriteFile(directory + "/model.safetensors", SafetensorsBytes(tensors_));
    const auto checkpoint = Checkpoint::Open(directory);
    return checkpoint.ok() ? FindWeights(*checkpoint, config_).status() : checkpoint.status();
  }

  RetNetConfig config_;
  std::vector<TensorToWrite> tensors_;
};

TEST_F(Weights, AMissingTensorIsNamed) {
  EXPECT_TRUE(Find().ok());
  const std::string name = "model.layers.0.mlp.up_proj.weight";
  std::erase_if(tensors_, [&](const TensorToWrite& tensor) { return tensor.name == name; });
  ExpectRefused(Find(), "model.safetensors", "tensor " + name + ": is missing");
}

TEST_F(Weights, AMisshapenTensorIsNamed) {
  Tensor("model.layers.0.attn.o_proj.weight").shape = {8, 4};
  ExpectRefused(Find(), "model.safetensors",
                "tensor model.layers.0.attn.o_proj.weight: shape [8, 4], the config needs [4, 8]");
}

TEST_F(Weights, ATensorOfALayerThatIsNoPartOfItIsNamed) {
  tensors_.push_back({"model.layers.0.attn.q_conv1d.weight", ElementType::kFloat32, {1}, "abcd"});
  ExpectRefused(Find(), "model.safetensors", "tensor model.layers.0.attn.q_conv1d.weight");
}

TEST_F(Weights, OtherTensorsAreUnused) {
  for (const char* name : {"model.layers.1.attn.q_proj.weight", "score.weight", "model.layers.x"}) {
    tensors_.push_back({name, ElementType::kFloat32, {1}, "abcd"});
  }
  const std::string directory = MakeTemporaryFolder();
  WriteFile(directory + "/model.safetensors", SafetensorsBytes(tensors_));
  const auto checkpoint = Checkpoint::Open(directory);
  EXPECT_THAT(FindWeights(*checkpoint, config_)->unused,
              ElementsAre("model.layers.1.attn.q_proj.weight", "model.layers.x", "score.weight"));
}

TEST_F(Weights, GateAndUpAreOneTensorOrTwo) {
  TensorToWrite& gate = Tensor("model.layers.0.mlp.gate_proj.weight");
  const std::string up = Tensor("model.layers.0.mlp.up_proj.weight").bytes;
  gate.shape = {6, 4};
  gate.bytes += up;
  std::erase_if(tensors_, [&](const TensorToWrite& tensor) {
    return tensor.name == "model.layers.0.mlp.up_proj.weight";
  });
  const std::string directory = MakeTemporaryFolder();
  WriteFile(directory + "/model.safetensors", SafetensorsBytes(tensors_));
  const auto checkpoint = Checkpoint::Open(directory);
  const auto weights = FindWeights(*checkpoint, config_);
  ASSERT_TRUE(weights.ok()) << weights.status();
  const HostTensor& found = weights->layers[0].gate_up[1];
  EXPECT_EQ(found.rows, 3);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(found.data), up.size()), up);
  EXPECT_EQ(weights->layers[0].gate_up[0].rows, 3);
}

TEST_F(Weights, RotaryBuffersAreIgnored) {
  tensors_.push_back({"model.layers.0.attn.rotary.inv_freq", ElementType::kFloat32, {1}, "abcd"});
  EXPECT_TRUE(Find().ok()) << Find();
}

TEST_F(Weights, TheHeadNormHasTwoNames) {
  Tensor("model.layers.0.attn.g_norm_swish_gate.weight").name = "model.layers.0.attn.g_norm.weight";
  EXPECT_TRUE(Find().ok()) << Find();
}

TEST_F(Weights, TiedEmbeddingsNeedNoHead) {
  config_.tied = true;
  EXPECT_TRUE(Find().ok()) << Find();
  std::erase_if(tensors_,
                [](const TensorToWrite& tensor) { return tensor.name == "lm_head.weight"; });
  EXPECT_TRUE(Find().ok()) << Find();
  config_.tied = false;
  ExpectRefused(Find(), "model.safetensors", "tensor lm_head.weight: is missing");
}

TEST_F(Weights, AnElementTypeThatIsNotRunIsNamed) {
  const std::string directory = MakeTemporaryFolder();
  WriteFile(directory + "/model.safetensors",
            SafetensorsBytes(R"({"model.embeddings.weight":)"
                             R"({"dtype":"I32","shape":[7,4],"data_offsets":[0,112]}})",
                             std::string(112, 'x')));
  const auto checkpoint = Checkpoint::Open(directory);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  ExpectRefused(FindWeights(*checkpoint, config_).status(), "model.safetensors",
                "tensor model.embeddings.weight: dtype I32");
}

TEST(ToFloats, WidensEveryTypeExactly) {
  const auto floats = [](ElementType type, const std::string& bytes) {
    return ToFloats({type, reinterpret_cast<const std::byte*>(bytes.data()), 1,
                     static_cast<int64_t>(bytes.size() / SizeOf(type))});
  };
  using std::string_literals::operator""s;
  EXPECT_THAT(floats(ElementType::kFloat32, "\x00\x00\x20\x41"s), ElementsAre(10.0f));
  EXPECT_THAT(floats(ElementType::kBFloat16, "\x20\x41\x80\xbf"s), ElementsAre(10.0f, -1.0f));
  EXPECT_THAT(floats(ElementType::kFloat16, "\x00\x3c\x01\x00"s), ElementsAre(1.0f, 0x1p-24f));
}

}  // namespace
}  // namespace retnet
