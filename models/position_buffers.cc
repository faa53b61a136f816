#include "models/position_buffers.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "kernels/tensor.h"
#include "models/weights.h"

namespace retnet {
namespace {

// What fp32 code computes differs from the formula by less than this, relative to it.
constexpr double kFloat32Rounding = 4e-6;

bool IsClose(double stored, double formula) {
  return std::abs(stored - formula) <= kFloat32Rounding * std::abs(formula);
}

// The `size` numbers of a buffer. Empty if the checkpoint does not have it.
absl::StatusOr<std::vector<float>> Buffer(const Checkpoint& checkpoint, const char* name,
                                          int64_t size) {
  const Checkpoint::Tensor* tensor = checkpoint.Find(name);
  if (tensor == nullptr) return std::vector<float>();
  ASSIGN_OR_RETURN(const HostTensor stored, TensorOf(*tensor, name, {size}, 1, size));
  return ToFloats(stored);
}

absl::Status Refuse(const Checkpoint& checkpoint, const char* name, const char* why) {
  return absl::InvalidArgumentError(
      absl::StrCat(checkpoint.Find(name)->file, ": tensor ", name, ": ", why));
}

absl::Status ReadAngles(const Checkpoint& checkpoint, RetNetConfig* config) {
  const char* name = config->layout->angles;
  ASSIGN_OR_RETURN(const std::vector<float> angles, Buffer(checkpoint, name, config->key_dim));
  if (angles.empty()) return absl::OkStatus();
  std::vector<double> theta;
  for (size_t i = 0; i < angles.size(); i += 2) {
    if (!std::isfinite(angles[i]) || angles[i] < 0 || angles[i] != angles[i + 1]) {
      return Refuse(checkpoint, name, "must have each angle twice in a row, at least 0");
    }
    theta.push_back(angles[i]);
  }
  if (!std::equal(theta.begin(), theta.end(), config->theta.begin(), IsClose)) {
    config->theta = std::move(theta);
  }
  return absl::OkStatus();
}

absl::Status ReadDecays(const Checkpoint& checkpoint, RetNetConfig* config) {
  const char* name = config->layout->log_decays;
  ASSIGN_OR_RETURN(const std::vector<float> logs, Buffer(checkpoint, name, config->heads));
  if (logs.empty()) return absl::OkStatus();
  bool close = true;
  std::vector<float> decay;
  for (size_t h = 0; h < logs.size(); ++h) {
    decay.push_back(static_cast<float>(std::exp(double{logs[h]})));
    if (!(decay[h] > 0.0f && decay[h] < 1.0f)) {
      return Refuse(checkpoint, name, "must have logarithms of numbers between 0 and 1");
    }
    close = close && IsClose(logs[h], std::log(double{config->decay[h]}));
  }
  if (!close) config->decay = std::move(decay);
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadPositionBuffers(const Checkpoint& checkpoint, RetNetConfig* config) {
  if (config->layout->angles == nullptr) return absl::OkStatus();
  RETURN_IF_ERROR(ReadAngles(checkpoint, config));
  return ReadDecays(checkpoint, config);
}

}  // namespace retnet
