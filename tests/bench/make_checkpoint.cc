// Writes a checkpoint of random bf16 weights as large as its config says, to measure speed with:
//   make_checkpoint OUT            the shape of retnet-1.3B, 2.4 GB
//   make_checkpoint OUT CONFIG     the config.json of any other, as text
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "models/config.h"
#include "tests/models/checkpoint_tensors.h"
#include "tests/models/safetensors_writer.h"

namespace retnet {
namespace {

// retnet-1.3B-100B's.
constexpr char kDefaultConfig[] =
    R"({"model_type": "retnet", "vocab_size": 32000, "hidden_size": 2048, "num_hidden_layers": 24,
        "num_heads": 8, "hidden_ratio": 2})";

// Values that come again in every tensor, scaled to it; enough of them that no cache holds them.
std::vector<float> NormalValues() {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(1 << 22);
  for (float& value : values) value = normal(random);
  return values;
}

void WriteTensor(const TensorHeader& tensor, const std::vector<float>& values,
                 std::ofstream& file) {
  const bool norm = tensor.shape.size() == 1;
  const float deviation = norm ? 0.1f : 1.0f / std::sqrt(static_cast<float>(tensor.shape[1]));
  std::vector<uint16_t> block(values.size());
  for (size_t i = 0; i < block.size(); ++i) {
    const float value = values[i] * deviation + (norm ? 1.0f : 0.0f);
    block[i] = static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16);
  }
  int64_t left = tensor.Elements();
  while (left > 0) {
    const int64_t count = std::min<int64_t>(left, block.size());
    file.write(reinterpret_cast<const char*>(block.data()), count * sizeof(uint16_t));
    left -= count;
  }
}

int Run(const std::string& out, const std::string& text) {
  const absl::StatusOr<RetNetConfig> config = ParseConfig(text, "CONFIG");
  if (!config.ok()) {
    std::cerr << config.status().message() << "\n";
    return 1;
  }
  const auto tensors = CheckpointTensors(*config, ElementType::kBFloat16,
                                         /*embeddings_norm=*/false);
  const std::vector<float> values = NormalValues();
  std::filesystem::create_directories(out);
  WriteFile(out + "/config.json", text);
  std::ofstream file(out + "/model.safetensors", std::ios::binary);
  file << SafetensorsBytes(SafetensorsHeader(tensors), /*data=*/"");
  for (const TensorHeader& tensor : tensors) WriteTensor(tensor, values, file);
  file.flush();
  if (!file) std::cerr << out << "/model.safetensors cannot be written\n";
  return file ? 0 : 1;
}

}  // namespace
}  // namespace retnet

int main(int count, char** arguments) {
  if (count == 2 || count == 3) {
    return retnet::Run(arguments[1], count == 3 ? arguments[2] : retnet::kDefaultConfig);
  }
  std::cerr << "usage: make_checkpoint OUT [CONFIG]\n";
  return 2;
}
