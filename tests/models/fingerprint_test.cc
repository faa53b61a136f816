#include "models/fingerprint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "models/load.h"
#include "models/safetensors.h"
#include "tests/models/golden.h"
#include "tests/models/random_checkpoint.h"
#include "tests/models/safetensors_writer.h"

namespace retnet {
namespace {

constexpr char kConfig[] = R"({"vocab_size": 8, "hidden_size": 8, "num_hidden_layers": 2,
                               "num_heads": 1, "intermediate_size": 6})";

uint64_t FingerprintOf(const std::string& directory) {
  ModelOptions options;
  options.device = "cpu";
  options.threads = 1;
  options.slots = 1;
  const auto model = LoadModel(directory, options);
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? (*model)->info().fingerprint : 0;
}

uint64_t OfConfig(const std::string& config) {
  return FingerprintOf(WriteRandomCheckpoint({.config = config}));
}

TEST(Fingerprint, IsTheSameForTheSameWeightsHoweverTheConfigIsSpelt) {
  const uint64_t fingerprint = OfConfig(kConfig);
  EXPECT_NE(fingerprint, 0);
  EXPECT_EQ(OfConfig(kConfig), fingerprint);
  EXPECT_EQ(OfConfig(R"({"num_heads":1,"use_output_gate":true,"hidden_size":8,"vocab_size":8,
                         "num_hidden_layers":2,"intermediate_size":6,"torch_dtype":"float32",
                         "bos_token_id":3})"),
            fingerprint);
}

TEST(Fingerprint, AKeyThatChangesWhatIsComputedChangesIt) {
  for (const char* key : {R"("norm_eps": 1e-5, )", R"("normalized_retention": true, )"}) {
    std::string config = kConfig;
    config.insert(1, key);
    EXPECT_NE(OfConfig(config), OfConfig(kConfig)) << key;
  }
  std::string config = kConfig;
  config.insert(1, R"("normalized_retention": false, )");
  EXPECT_EQ(OfConfig(config), OfConfig(kConfig));
}

// So that a session goes on with a file that was written anew.
TEST(Fingerprint, IsTheSameForGateAndUpInOneTensor) {
  EXPECT_EQ(FingerprintOf(GoldenFolder("fla-fused-mlp-grouped")),
            FingerprintOf(GoldenFolder("grouped")));
}

TEST(Fingerprint, EveryBitOfAWeightChangesIt) {
  const std::string directory = WriteRandomCheckpoint({.config = kConfig});
  const uint64_t fingerprint = FingerprintOf(directory);
  const std::string path = directory + "/model.safetensors";
  std::ifstream stream(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
  for (size_t at = 8 + header_bytes; at < bytes.size(); at += 97) {
    std::string changed = bytes;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    WriteFile(path, changed);
    EXPECT_NE(FingerprintOf(directory), fingerprint) << at;
  }
  WriteFile(path, bytes);
  EXPECT_EQ(FingerprintOf(directory), fingerprint);
}

// In the first, the last and some other element of every tensor, in every type.
TEST(Fingerprint, AWeightThatIsNotFiniteIsRefusedByItsName) {
  const struct {
    ElementType type;
    std::string bits[3];  // NaN, infinity, −infinity
  } cases[] = {
      {ElementType::kFloat32,
       {std::string("\1\0\x80\x7f", 4), std::string("\0\0\x80\x7f", 4),
        std::string("\0\0\x80\xff", 4)}},
      {ElementType::kFloat16,
       {std::string("\1\x7c", 2), std::string("\0\x7c", 2), std::string("\0\xfc", 2)}},
      {ElementType::kBFloat16,
       {std::string("\x81\x7f", 2), std::string("\x80\x7f", 2), std::string("\x80\xff", 2)}}};
  for (const auto& [type, bits] : cases) {
    const std::string directory = WriteRandomCheckpoint({.config = kConfig, .type = type});
    const std::string path = directory + "/model.safetensors";
    std::ifstream stream(path, std::ios::binary);
    const std::string file{std::istreambuf_iterator<char>(stream), {}};
    const auto tensors = ParseSafetensors(std::as_bytes(std::span(file)), path);
    ASSERT_TRUE(tensors.ok()) << tensors.status();
    ASSERT_GT(tensors->size(), 20);
    size_t number = 0;
    for (const auto& [name, tensor] : *tensors) {
      const size_t first = tensor.bytes.data() - std::as_bytes(std::span(file)).data();
      const size_t elements = tensor.bytes.size() / bits[0].size();
      for (const size_t element : {size_t{0}, elements / 3, elements - 1}) {
        std::string changed = file;
        changed.replace(first + element * bits[0].size(), bits[0].size(), bits[number++ % 3]);
        WriteFile(path, changed);
        const absl::Status status =
            LoadModel(directory, {.device = "cpu", .threads = 1, .slots = 1}).status();
        EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
        EXPECT_THAT(std::string(status.message()),
                    testing::HasSubstr(
                        absl::StrCat(path, ": tensor ", name, ": element ", element, " is ")));
      }
    }
    WriteFile(path, file);
    EXPECT_NE(FingerprintOf(directory), 0);
  }
}

// The largest numbers are weights like others.
TEST(Fingerprint, EveryFiniteWeightIsTaken) {
  for (const auto& [type, bits] :
       {std::pair(ElementType::kFloat32, std::string("\xff\xff\x7f\xff", 4)),
        {ElementType::kFloat16, std::string("\xff\x7b", 2)},
        {ElementType::kBFloat16, std::string("\x7f\xff", 2)}}) {
    const std::string directory = WriteRandomCheckpoint({.config = kConfig, .type = type});
    const std::string path = directory + "/model.safetensors";
    std::ifstream stream(path, std::ios::binary);
    std::string file{std::istreambuf_iterator<char>(stream), {}};
    file.replace(file.size() - bits.size(), bits.size(), bits);
    WriteFile(path, file);
    EXPECT_NE(FingerprintOf(directory), 0);
  }
}

}  // namespace
}  // namespace retnet
