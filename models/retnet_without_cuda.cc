// MakeCudaModel of a build without the CUDA backend.
#include "absl/status/status.h"
#include "models/retnet_cuda.h"

namespace retnet {

absl::StatusOr<std::unique_ptr<Model>> MakeCudaModel(const RetNetConfig&, const ModelWeights&,
                                                     const ModelOptions&, ModelInfo) {
  return absl::UnavailableError("this build has no CUDA backend");
}

}  // namespace retnet
