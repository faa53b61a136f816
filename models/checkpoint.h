// The tensors of a checkpoint folder: model.safetensors, or the shards that
// model.safetensors.index.json names, mapped and not read before somebody does.
#ifndef RETNET_MODELS_CHECKPOINT_H_
#define RETNET_MODELS_CHECKPOINT_H_

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "models/mapped_file.h"
#include "models/safetensors.h"

namespace retnet {

class Checkpoint {
 public:
  struct Tensor {
    StoredTensor stored;  // its bytes live as long as the checkpoint
    std::string file;
  };

  // INVALID_ARGUMENT naming the file (and the tensor) for a folder without weights, a bad file, a
  // missing shard, a shard that lacks a tensor the index says it holds, or a shard outside the
  // folder.
  static absl::StatusOr<Checkpoint> Open(const std::string& directory);

  // nullptr where there is none.
  const Tensor* Find(std::string_view name) const;
  const std::map<std::string, Tensor, std::less<>>& tensors() const { return tensors_; }
  // The file that lists the tensors, for errors about one that is missing.
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
