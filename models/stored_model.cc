#include "models/stored_model.h"

#include <utility>

#include "kernels/status_macros.h"
#include "models/layout.h"
#include "models/position_buffers.h"

namespace retnet {

absl::StatusOr<StoredModel> OpenStoredModel(const std::string& directory) {
  ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::Open(directory));
  // Before the config, whose keys mean something else in a layout that is not served.
  RETURN_IF_ERROR(CheckLayout(checkpoint));
  ASSIGN_OR_RETURN(RetNetConfig config, ReadConfig(directory));
  RETURN_IF_ERROR(ReadPositionBuffers(checkpoint, &config));
  ASSIGN_OR_RETURN(ModelWeights weights, FindWeights(checkpoint, config));
  return StoredModel{std::move(checkpoint), std::move(config), std::move(weights)};
}

}  // namespace retnet
