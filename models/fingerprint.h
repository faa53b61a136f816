// A number that identifies what a model computes. It tells snapshots of different models apart.
#ifndef RETNET_MODELS_FINGERPRINT_H_
#define RETNET_MODELS_FINGERPRINT_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "models/weights.h"

namespace retnet {

// XXH3 over the parsed config and over the type, shape and bytes of every weight that is used. A
// single bit of a weight changes it. Spelling, explicit defaults, unknown keys, special tokens,
// tensor names and the division into shards do not. Reads every weight once, at about 10 GB/s if
// they are in memory. So it also looks for weights that are NaN or infinite, from which no answer
// would be right: INVALID_ARGUMENT, with the file, the tensor and the element. `weights` are views
// into `checkpoint`.
absl::StatusOr<uint64_t> Fingerprint(const RetNetConfig& config, const Checkpoint& checkpoint,
                                     const ModelWeights& weights);

}  // namespace retnet

#endif  // RETNET_MODELS_FINGERPRINT_H_
