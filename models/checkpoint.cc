#include "models/checkpoint.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "models/json_reader.h"

namespace retnet {
namespace {

// Whether `name` is a file directly in the folder of the checkpoint. Paths are not accepted.
bool IsPlainFileName(const std::string& name) {
  return absl::EndsWith(name, ".safetensors") && name.find_first_of("/\\") == std::string::npos &&
         name.find('\0') == std::string::npos;
}

absl::Status NoWeights(const std::string& directory) {
  std::error_code unreadable;
  if (!std::filesystem::is_directory(directory, unreadable)) {
    return absl::InvalidArgumentError(absl::StrCat(directory, ": there is no such folder"));
  }
  for (const char* file : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {
    std::error_code error;
    if (!std::filesystem::exists(directory + "/" + file, error)) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        directory, ": ", file, " is PyTorch's format; convert it first: ", "models/convert.py ",
        directory, " NEW_FOLDER"));
  }
  return absl::InvalidArgumentError(absl::StrCat(
      directory, ": neither model.safetensors nor model.safetensors.index.json is there"));
}

absl::Status AsInvalid(const absl::Status& status) {
  return absl::InvalidArgumentError(status.message());
}

}  // namespace

absl::StatusOr<StoredTensors> Checkpoint::Map(const std::string& path) {
  ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  files_.push_back(std::move(file));
  return ParseSafetensors(files_.back().bytes(), path);
}

absl::Status Checkpoint::AddIndexed(const std::string& directory, std::string_view text) {
  ASSIGN_OR_RETURN(const nlohmann::json index, ParseJsonObject(text, listing_));
  const auto weight_map = index.find("weight_map");
  if (weight_map == index.end() || !weight_map->is_object() || weight_map->empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(listing_, ": weight_map must name the file of each tensor"));
  }
  std::map<std::string, StoredTensors> shards;
  for (const auto& [name, file] : weight_map->items()) {
    if (!file.is_string() || !IsPlainFileName(file.get_ref<const std::string&>())) {
      return absl::InvalidArgumentError(
          absl::StrCat(listing_, ": tensor ", name, ": ", Describe(file),
                       " is not the name of a .safetensors file in this folder"));
    }
    const std::string path = directory + "/" + file.get<std::string>();
    auto shard = shards.find(path);
    if (shard == shards.end()) {
      ASSIGN_OR_RETURN(StoredTensors tensors, Map(path));
      shard = shards.emplace(path, std::move(tensors)).first;
    }
    const auto stored = shard->second.find(name);
    if (stored == shard->second.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": tensor ", name, " is not there, but ", listing_, " says so"));
    }
    tensors_.emplace(name, Tensor{stored->second, path});
  }
  return absl::OkStatus();
}

absl::StatusOr<Checkpoint> Checkpoint::Open(const std::string& directory) {
  Checkpoint checkpoint;
  checkpoint.listing_ = directory + "/model.safetensors";
  absl::StatusOr<StoredTensors> whole = checkpoint.Map(checkpoint.listing_);
  if (whole.ok()) {
    for (auto& [name, stored] : *whole) {
      checkpoint.tensors_.emplace(name, Tensor{std::move(stored), checkpoint.listing_});
    }
    return checkpoint;
  }
  if (!absl::IsNotFound(whole.status())) return whole.status();

  checkpoint.listing_ = directory + "/model.safetensors.index.json";
  const absl::StatusOr<std::string> index = ReadFile(checkpoint.listing_);
  if (absl::IsNotFound(index.status())) {
    return NoWeights(directory);
  }
  RETURN_IF_ERROR(index.status());
  const absl::Status added = checkpoint.AddIndexed(directory, *index);
  if (!added.ok()) return AsInvalid(added);
  return checkpoint;
}

void Checkpoint::Release(const HostTensor& tensor) const {
  const size_t bytes = tensor.rows * tensor.columns * SizeOf(tensor.type);
  for (const MappedFile& file : files_) file.Release({tensor.data, bytes});
}

const Checkpoint::Tensor* Checkpoint::Find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

}  // namespace retnet
