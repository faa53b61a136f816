// RetNet on the CUDA backend.
#ifndef RETNET_MODELS_RETNET_CUDA_H_
#define RETNET_MODELS_RETNET_CUDA_H_

#include <memory>

#include "absl/status/statusor.h"
#include "models/config.h"
#include "models/load.h"
#include "models/model.h"
#include "models/weights.h"

namespace retnet {

// Like MakeCpuModel. UNAVAILABLE if there is no suitable device or driver, or if the build has no
// CUDA backend.
absl::StatusOr<std::unique_ptr<Model>> MakeCudaModel(const RetNetConfig& config,
                                                     const ModelWeights& weights,
                                                     const ModelOptions& options, ModelInfo info);

}  // namespace retnet

#endif  // RETNET_MODELS_RETNET_CUDA_H_
