#include "models/load.h"

#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cpu/instruction_set.h"
#include "kernels/status_macros.h"
#include "models/config.h"
#include "models/fingerprint.h"
#include "models/generation_config.h"
#include "models/retnet_cpu.h"
#include "models/retnet_cuda.h"
#include "models/stored_model.h"

namespace retnet {
namespace {

absl::Status CheckRange(const char* option, int64_t value, int64_t minimum, int64_t maximum) {
  if (value >= minimum && value <= maximum) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(option, " is ", value, "; it must be from ", minimum, " to ", maximum));
}

// The condition is written so that NaN fails.
absl::Status CheckFraction(const char* option, double value) {
  if (value > 0.0 && value <= 1.0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(option, " is ", value, "; it must be above 0 and at most 1"));
}

absl::Status CheckOptionsOfAnyDevice(const ModelOptions& options) {
  if (options.device != "cpu" && options.device != "cuda" && options.device != "auto") {
    return absl::InvalidArgumentError(
        absl::StrCat("device is ", options.device, "; it must be cpu, cuda or auto"));
  }
  if (options.state_type != "fp32" && options.state_type != "bf16" &&
      options.state_type != "fp16") {
    return absl::InvalidArgumentError(
        absl::StrCat("state_type is ", options.state_type, "; it must be fp32, bf16 or fp16"));
  }
  RETURN_IF_ERROR(CheckRange("threads", options.threads, 0, 1024));
  RETURN_IF_ERROR(CheckRange("slots", options.slots, 0, 1 << 20));
  RETURN_IF_ERROR(CheckRange("max_rows", options.max_rows, 1, 1 << 16));
  RETURN_IF_ERROR(CheckFraction("state_memory_fraction", options.state_memory_fraction));
  RETURN_IF_ERROR(CheckFraction("gpu_memory_fraction", options.gpu_memory_fraction));
  return absl::OkStatus();
}

// Takes the ids of generation_config.json if it has them, otherwise those of config.json.
absl::Status SetSpecialTokens(const std::string& directory, const RetNetConfig& config,
                              ModelInfo& info) {
  ASSIGN_OR_RETURN(const GenerationConfig generation, ReadGenerationConfig(directory));
  info.bos = generation.bos.value_or(config.bos);
  info.eos = generation.eos.value_or(config.eos);
  std::vector<TokenId> ids = info.eos;
  if (info.bos != kNoToken) ids.push_back(info.bos);
  for (const TokenId id : ids) {
    if (id < config.vocab_size) continue;
    return absl::InvalidArgumentError(absl::StrCat(directory, "/generation_config.json: id ", id,
                                                   " is not in the vocabulary of ",
                                                   config.vocab_size));
  }
  return absl::OkStatus();
}

}  // namespace

// The path is made absolute first, so that it may end in ".." or be a symbolic link.
std::string CheckpointName(const std::string& directory) {
  std::error_code error;
  const auto path = std::filesystem::canonical(directory, error);
  if (error) return directory;
  const std::string repository = path.parent_path().parent_path().filename().string();
  const std::string prefix = "models--";
  if (path.parent_path().filename() != "snapshots" || !repository.starts_with(prefix)) {
    return path.filename().string();
  }
  // The cache writes owner/name as owner--name.
  const std::string name = repository.substr(prefix.size());
  const size_t end = name.find("--");
  if (end == std::string::npos) return name;
  return absl::StrCat(name.substr(0, end), "/", name.substr(end + 2));
}

ElementType StateTypeOf(const ModelOptions& options) {
  if (options.state_type == "bf16") return ElementType::kBFloat16;
  return options.state_type == "fp16" ? ElementType::kFloat16 : ElementType::kFloat32;
}

absl::Status CheckModelOptions(const ModelOptions& options) {
  RETURN_IF_ERROR(CheckOptionsOfAnyDevice(options));
  if (options.device == "cpu") return CheckCpuOptions(options, /*device_note=*/"");
  // Whether the machine has them is asked when the CPU is taken. A wrong name is wrong anyway.
  if (options.instruction_set.empty()) return absl::OkStatus();
  const absl::Status named = cpu::ParseInstructionSet(options.instruction_set).status();
  return absl::IsInvalidArgument(named) ? named : absl::OkStatus();
}

absl::Status CheckCheckpoint(const std::string& directory) {
  return OpenStoredModel(directory).status();
}

absl::StatusOr<std::unique_ptr<Model>> LoadModel(const std::string& directory,
                                                 const ModelOptions& options,
                                                 const LoadListener& listener) {
  RETURN_IF_ERROR(CheckModelOptions(options));
  ASSIGN_OR_RETURN(StoredModel stored, OpenStoredModel(directory));
  auto& [checkpoint, config, weights] = stored;
  LoadProgress progress{"checking weights", 0, 2 * weights.stored_bytes};
  weights.on_read = [&, &files = checkpoint](const HostTensor& tensor) {
    files.Release(tensor);  // so that the file and its copy do not add up
    progress.bytes += tensor.rows * tensor.columns * static_cast<int64_t>(SizeOf(tensor.type));
    if (listener) listener(progress);
  };
  ModelInfo info;
  info.name = options.served_name.empty() ? CheckpointName(directory) : options.served_name;
  info.unused_tensors = weights.unused;
  RETURN_IF_ERROR(SetSpecialTokens(directory, config, info));
  ASSIGN_OR_RETURN(info.fingerprint, Fingerprint(config, checkpoint, weights));
  progress.activity = "copying weights";
  if (options.device != "cpu") {
    auto model = MakeCudaModel(config, weights, options, info);
    if (options.device == "cuda" || !absl::IsUnavailable(model.status())) return model;
    info.device_note = std::string(model.status().message());
    progress.bytes = weights.stored_bytes;
  }
  return MakeCpuModel(config, weights, options, std::move(info));
}

}  // namespace retnet
