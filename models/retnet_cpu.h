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

// What is wrong with options for the CPU. `device_note` says why the CPU was taken; empty if it was
// asked for.
absl::Status CheckCpuOptions(const ModelOptions& options, const std::string& device_note);

// The caller sets the name, the ids and device_note in `info`; the function sets the rest.
// `weights` are copied and not needed afterwards. INVALID_ARGUMENT for options that the CPU does
// not support, UNAVAILABLE for an instruction set that this machine does not support,
// RESOURCE_EXHAUSTED if memory does not suffice.
absl::StatusOr<std::unique_ptr<Model>> MakeCpuModel(const RetNetConfig& config,
                                                    const ModelWeights& weights,
                                                    const ModelOptions& options, ModelInfo info);

}  // namespace retnet

#endif  // RETNET_MODELS_RETNET_CPU_H_
