#include "models/fingerprint.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include "models/load.h"
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
  std::string config = kConfig;
  config.insert(1, R"("norm_eps": 1e-5, )");
  EXPECT_NE(OfConfig(config), OfConfig(kConfig));
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

}  // namespace
}  // namespace retnet
