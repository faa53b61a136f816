#include "tests/models/random_checkpoint.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <random>
#include <vector>

#include "models/config.h"
#include "tests/models/checkpoint_tensors.h"
#include "tests/models/safetensors_writer.h"

namespace retnet {
namespace {

// `value` must be a normal number of binary16, or 0; bits that do not fit are cut.
uint16_t ToFloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::abs(value) < 0x1p-14f) return 0;
  return static_cast<uint16_t>((bits >> 16 & 0x8000) | ((bits >> 13 & 0x3ffff) - (112 << 10)));
}

std::string ElementBytes(float value, ElementType type) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (type == ElementType::kFloat32) return std::string(reinterpret_cast<const char*>(&bits), 4);
  const uint16_t half = type == ElementType::kFloat16 ? ToFloat16(value) : bits >> 16;
  return std::string(reinterpret_cast<const char*>(&half), 2);
}

// Norms are near 1; matrices keep the size of what they multiply.
TensorToWrite RandomTensor(const TensorHeader& header, std::mt19937& random) {
  const bool norm = header.shape.size() == 1;
  std::normal_distribution<float> normal(
      norm ? 1.0f : 0.0f, norm ? 0.2f : 1.0f / std::sqrt(static_cast<float>(header.shape[1])));
  TensorToWrite tensor{header, ""};
  for (int64_t i = 0; i < header.Elements(); ++i) {
    tensor.bytes += ElementBytes(normal(random), header.type);
  }
  return tensor;
}

}  // namespace

std::string MakeTemporaryFolder() {
  std::string path = ::testing::TempDir() + "/retnet_XXXXXX";
  EXPECT_NE(mkdtemp(path.data()), nullptr);
  return path;
}

std::string WriteRandomCheckpoint(const CheckpointShape& shape) {
  const std::string directory = MakeTemporaryFolder();
  const absl::StatusOr<RetNetConfig> config = ParseConfig(shape.config, "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  if (!config.ok()) return directory;
  std::mt19937 random(shape.seed);
  std::vector<TensorToWrite> tensors;
  for (const TensorHeader& header : CheckpointTensors(*config, shape.type, shape.embeddings_norm)) {
    tensors.push_back(RandomTensor(header, random));
  }
  WriteFile(directory + "/config.json", shape.config);
  WriteFile(directory + "/model.safetensors", SafetensorsBytes(tensors));
  return directory;
}

}  // namespace retnet
