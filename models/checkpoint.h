// The tensors of a checkpoint folder: those of model.safetensors, or of the shards that
// model.safetensors.index.json names.
#ifndef RETNET_MODELS_CHECKPOINT_H_
#define RETNET_MODELS_CHECKPOINT_H_

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/tensor.h"
#include "models/mapped_file.h"
#include "models/safetensors.h"

namespace retnet {

// Maps the files into memory. Bytes are read from disk when they are first used. Owns the mappings.
// Immutable after Open. Movable.
class Checkpoint {
 public:
  struct Tensor {
    StoredTensor stored;  // its bytes are valid as long as the checkpoint
    std::string file;     // path of the file that holds it
  };

  // INVALID_ARGUMENT for a folder without weights, a malformed file, a missing shard, a shard
  // without a tensor that the index assigns to it, or a shard outside the folder. The error names
  // the file, and the tensor if there is one.
  static absl::StatusOr<Checkpoint> Open(const std::string& directory);

  // nullptr if there is no such tensor.
  const Tensor* Find(std::string_view name) const;
  const std::map<std::string, Tensor, std::less<>>& tensors() const { return tensors_; }
  // Takes the tensor's bytes out of this process's memory until they are used again.
  void Release(const HostTensor& tensor) const;
  // The path of the file that lists the tensors, for errors about a missing one.
  const std::string& listing() const { return listing_; }

 private:
  absl::Status AddIndexed(const std::string& directory, std::string_view index);
  absl::StatusOr<StoredTensors> Map(const std::string& path);

  std::vector<MappedFile> files_;
  std::map<std::string, Tensor, std::less<>> tensors_;
  std::string listing_;
};

}  // namespace retnet

#endif  // RETNET_MODELS_CHECKPOINT_H_
