// One number for what a model computes, by which snapshots of another model are told apart.
#ifndef RETNET_MODELS_FINGERPRINT_H_
#define RETNET_MODELS_FINGERPRINT_H_

#include <cstdint>

#include "models/config.h"
#include "models/weights.h"

namespace retnet {

// XXH3 over the parsed config and over type, shape and bytes of every weight that is used. So
// spelling, defaults written out, unknown keys, special tokens, names and shards make no difference
// to it, and a single bit of a weight does. Reads every weight once, at some 10 GB/s when they are
// in memory.
uint64_t Fingerprint(const RetNetConfig& config, const ModelWeights& weights);

}  // namespace retnet

#endif  // RETNET_MODELS_FINGERPRINT_H_
