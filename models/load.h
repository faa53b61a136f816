// Loads a Model from a checkpoint folder onto a device.
#ifndef RETNET_MODELS_LOAD_H_
#define RETNET_MODELS_LOAD_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/tensor.h"
#include "models/model.h"

namespace retnet {

struct ModelOptions {
  std::string device = "auto";  // cpu, cuda, or auto: cuda if available, otherwise cpu
  int32_t threads = 0;  // CPU threads, including the caller; 0: all cores that the process may use
  // Sequences that run at the same time. 0: as many as fit, at most 1024. On the CPU they must fit
  // into state_memory_fraction of the free memory.
  int32_t slots = 0;
  double state_memory_fraction = 0.5;
  double gpu_memory_fraction = 0.9;  // share of the free GPU memory for weights, steps and slots
  std::string state_type = "fp32";   // element type of bases: fp32, bf16 or fp16; CPU: only fp32
  bool cuda_graphs = true;           // record decode steps once and replay them
  bool programmatic_launch = true;   // let kernels of decode steps overlap if the device can
  int32_t max_rows = 512;            // the most tokens of a step
  // scalar, avx2, avx512 or avx512-bf16. Empty: the best set that this machine supports.
  std::string instruction_set = "";
  std::string served_name = "";  // ModelInfo::name. Empty: CheckpointName
};

// How far loading is. Weights are read twice: checked, then copied to the device.
struct LoadProgress {
  const char* activity = "";  // "checking weights"
  int64_t bytes = 0;          // read in both passes
  int64_t total = 0;
};
// Called after each tensor, on the thread that loads.
using LoadListener = std::function<void(const LoadProgress&)>;

// What a checkpoint is called: its folder's name, or owner/name for a snapshot in a cache of the
// Hugging Face hub, whose path is models--owner--name/snapshots/HASH.
std::string CheckpointName(const std::string& directory);

// The element type that options.state_type names. The options must be valid.
ElementType StateTypeOf(const ModelOptions& options);

// The errors of LoadModel that show without checkpoint and GPU. INVALID_ARGUMENT for invalid
// options, UNAVAILABLE if they ask for CPU instructions that this machine does not have.
absl::Status CheckModelOptions(const ModelOptions& options);
// The errors of LoadModel about the checkpoint that show without reading weights: those of its
// files, its config, and its tensors' names and shapes.
absl::Status CheckCheckpoint(const std::string& directory);

// UNAVAILABLE if the device is not available. INVALID_ARGUMENT for invalid options, or for a
// checkpoint that cannot be run exactly; the error names the file and the key or tensor.
// RESOURCE_EXHAUSTED if memory does not suffice.
absl::StatusOr<std::unique_ptr<Model>> LoadModel(const std::string& directory,
                                                 const ModelOptions& options,
                                                 const LoadListener& listener = {});

}  // namespace retnet

#endif  // RETNET_MODELS_LOAD_H_
