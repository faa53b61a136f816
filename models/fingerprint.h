// A number that identifies what a model computes. It tells snapshots of different models apart.
#ifndef RETNET_MODELS_FINGERPRINT_H_
#define RETNET_MODELS_FINGERPRINT_H_

#include <cstdint>

#include "models/config.h"
#include "models/weights.h"

namespace retnet {

// XXH3 over the parsed config and over the type, shape and bytes of every weight that is used. A
// single bit of a weight changes it. Spelling, explicit defaults, unknown keys, special tokens,
// tensor names and the division into shards do not. Reads every weight once, at about 10 GB/s if
// they are in memory.
uint64_t Fingerprint(const RetNetConfig& config, const ModelWeights& weights);

}  // namespace retnet

#endif  // RETNET_MODELS_FINGERPRINT_H_
