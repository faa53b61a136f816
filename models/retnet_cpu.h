// RetNet on the CPU backend.
#ifndef RETNET_MODELS_RETNET_CPU_H_
#define RETNET_MODELS_RETNET_CPU_H_

#include <memory>

#include "absl/status/statusor.h"
#include "models/config.h"
#include "models/load.h"
#include "models/model.h"
#include "models/weights.h"

namespace retnet {

// `info` holds the name and the ids; the rest is filled in. `weights` are packed and not needed
// after.
absl::StatusOr<std::unique_ptr<Model>> MakeCpuModel(const RetNetConfig& config,
                                                    const ModelWeights& weights,
                                                    const ModelOptions& options, ModelInfo info);

}  // namespace retnet

#endif  // RETNET_MODELS_RETNET_CPU_H_
