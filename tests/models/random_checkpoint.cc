#include "tests/models/random_checkpoint.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <random>
#include <vector>

#include "models/config.h"
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

class Writer {
 public:
  explicit Writer(const CheckpointShape& shape) : type_(shape.type), random_(shape.seed) {}

  // Weights that keep the size of what they multiply.
  void Matrix(const std::string& name, int64_t rows, int64_t columns) {
    Add(name, {rows, columns}, /*mean=*/0.0f, 1.0f / std::sqrt(static_cast<float>(columns)));
  }
  void Vector(const std::string& name, int64_t size) { Add(name, {size}, /*mean=*/1.0f, 0.2f); }

  const std::vector<TensorToWrite>& tensors() const { return tensors_; }

 private:
  void Add(const std::string& name, const std::vector<int64_t>& shape, float mean,
           float deviation) {
    std::normal_distribution<float> normal(mean, deviation);
    TensorToWrite tensor{name, type_, shape, ""};
    int64_t size = 1;
    for (const int64_t side : shape) size *= side;
    for (int64_t i = 0; i < size; ++i) tensor.bytes += ElementBytes(normal(random_), type_);
    tensors_.push_back(std::move(tensor));
  }

  const ElementType type_;
  std::mt19937 random_;
  std::vector<TensorToWrite> tensors_;
};

void AddLayer(const std::string& prefix, const RetNetConfig& config, Writer& writer) {
  const int64_t hidden = config.hidden_size;
  const RetentionShape shape = config.Retention(/*slots=*/0);
  writer.Vector(prefix + "attn_norm.weight", hidden);
  writer.Matrix(prefix + "attn.q_proj.weight", int64_t{config.heads} * config.key_dim, hidden);
  writer.Matrix(prefix + "attn.k_proj.weight", int64_t{config.kv_heads} * config.key_dim, hidden);
  writer.Matrix(prefix + "attn.v_proj.weight", int64_t{config.kv_heads} * config.value_dim, hidden);
  if (config.gated) writer.Matrix(prefix + "attn.g_proj.weight", shape.OutputColumns(), hidden);
  if (config.head_norm_weight) {
    writer.Vector(prefix + "attn.g_norm_swish_gate.weight", config.value_dim);
  }
  writer.Matrix(prefix + "attn.o_proj.weight", hidden, shape.OutputColumns());
  writer.Vector(prefix + "mlp_norm.weight", hidden);
  writer.Matrix(prefix + "mlp.gate_proj.weight", config.intermediate_size, hidden);
  writer.Matrix(prefix + "mlp.up_proj.weight", config.intermediate_size, hidden);
  writer.Matrix(prefix + "mlp.down_proj.weight", hidden, config.intermediate_size);
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
  Writer writer(shape);
  writer.Matrix("model.embeddings.weight", config->vocab_size, config->hidden_size);
  if (shape.embeddings_norm) writer.Vector("model.embeddings_norm.weight", config->hidden_size);
  for (int32_t i = 0; i < config->layers; ++i) {
    AddLayer("model.layers." + std::to_string(i) + ".", *config, writer);
  }
  writer.Vector("model.norm.weight", config->hidden_size);
  if (!config->tied) writer.Matrix("lm_head.weight", config->vocab_size, config->hidden_size);
  WriteFile(directory + "/config.json", shape.config);
  WriteFile(directory + "/model.safetensors", SafetensorsBytes(writer.tensors()));
  return directory;
}

}  // namespace retnet
