// Makes a Model of a checkpoint folder, on the device that is asked for.
#ifndef RETNET_MODELS_LOAD_H_
#define RETNET_MODELS_LOAD_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/tensor.h"
#include "models/model.h"

namespace retnet {

struct ModelOptions {
  std::string device = "auto";  // cpu, cuda, or auto: cuda where it is there
  int32_t threads = 0;  // CPU workers, the caller included; 0: as many as the process may use
  int32_t slots = 0;  // 0: as many as fit in state_memory_fraction of the free memory, at most 1024
  double state_memory_fraction = 0.5;
  double gpu_memory_fraction = 0.9;  // of the device's free memory, for weights, steps and slots
  std::string state_type = "fp32";   // of bases: fp32, bf16 or fp16; on the CPU only fp32
  bool cuda_graphs = true;           // decode steps are recorded once and replayed
  bool programmatic_launch = true;   // their kernels overlap where the device can
  int32_t max_rows = 512;            // tokens a step may hold
  std::string instruction_set =
      "";  // scalar, avx2, avx512 or avx512-bf16; empty: the best there is
};

// Of an option that CheckOptions has let through.
ElementType StateTypeOf(const ModelOptions& options);

// UNAVAILABLE for a device that is not there; INVALID_ARGUMENT for options or a checkpoint that
// cannot be run exactly, naming file, key or tensor; RESOURCE_EXHAUSTED when memory does not
// suffice.
absl::StatusOr<std::unique_ptr<Model>> LoadModel(const std::string& directory,
                                                 const ModelOptions& options);

}  // namespace retnet

#endif  // RETNET_MODELS_LOAD_H_
