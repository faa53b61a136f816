#include "tests/models/golden.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "models/json_reader.h"
#include "models/mapped_file.h"
#include "models/safetensors.h"

namespace retnet {
namespace {

template <typename T>
std::vector<T> Values(const StoredTensors& tensors, const std::string& name) {
  const auto& bytes = tensors.at(name).bytes;
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

}  // namespace

const std::vector<Golden>& Goldens() {
  static const std::vector<Golden>* const goldens = new std::vector<Golden>{
      {"base"},
      {"bf16", /*bf16_weights=*/true},
      {"grouped", /*bf16_weights=*/true},
      {"plain"},
      {"sharded"},
      {"fullheads", /*bf16_weights=*/true},
      {"long"},
      {"fla-fused-mlp-grouped", /*bf16_weights=*/true, 2e-4, /*has_states=*/false},
      {"syncdoth-f32", /*bf16_weights=*/false, 2e-4, /*has_states=*/false},
      {"syncdoth-bf16", /*bf16_weights=*/true, 2e-4, /*has_states=*/false},
      {"syncdoth-f16", /*bf16_weights=*/false, 2e-4, /*has_states=*/false},
      // Heads so small that the epsilon of their norm counts.
      {"syncdoth-init", /*bf16_weights=*/false, 2e-5, /*has_states=*/false},
  };
  return *goldens;
}

std::string GoldenFolder(const std::string& name) {
  return std::string(RETNET_SOURCE_DIR) + "/tests/testdata/goldens/" + name;
}

std::vector<GoldenSequence> ReadGolden(const std::string& name) {
  const std::string path = GoldenFolder(name) + "/golden.safetensors";
  const auto file = MappedFile::Open(path);
  EXPECT_TRUE(file.ok()) << file.status();
  const auto tensors = ParseSafetensors(file->bytes(), path);
  const auto measured = ReadJsonObject(GoldenFolder(name) + "/golden.json");
  EXPECT_TRUE(tensors.ok() && measured.ok()) << tensors.status() << measured.status();
  std::vector<GoldenSequence> sequences;
  for (const auto& entry : measured->at("sequences")) {
    const std::string prefix = std::to_string(sequences.size()) + ".";
    GoldenSequence& sequence = sequences.emplace_back();
    sequence.tokens = Values<int32_t>(*tensors, prefix + "tokens");
    sequence.positions = Values<int32_t>(*tensors, prefix + "positions");
    sequence.logits = Values<float>(*tensors, prefix + "logits");
    for (int32_t layer = 0; tensors->contains(prefix + "state." + std::to_string(layer)); ++layer) {
      sequence.states[layer] = Values<float>(*tensors, prefix + "state." + std::to_string(layer));
    }
    sequence.bf16_max_error = entry.value("bf16_activations_max_error", 0.0);
    sequence.bf16_rms_error = entry.value("bf16_activations_rms_error", 0.0);
    EXPECT_FALSE(sequence.tokens.empty() || sequence.logits.empty()) << path;
  }
  EXPECT_FALSE(sequences.empty()) << path;
  return sequences;
}

LogitsError CompareWithGolden(const std::vector<float>& logits, const GoldenSequence& sequence) {
  const size_t vocabulary = sequence.logits.size() / sequence.positions.size();
  LogitsError error;
  double squares = 0;
  for (size_t i = 0; i < sequence.logits.size(); ++i) {
    const size_t row = sequence.positions[i / vocabulary];
    const double difference =
        double{logits.at(row * vocabulary + i % vocabulary)} - sequence.logits[i];
    squares += difference * difference;
    error.max = std::isnan(difference) ? difference : std::fmax(error.max, std::abs(difference));
    if (std::isnan(error.max)) break;
  }
  error.rms = std::sqrt(squares / sequence.logits.size());
  return error;
}

}  // namespace retnet
