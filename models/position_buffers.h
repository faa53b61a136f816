// The angles and decays that some layouts store beside the weights.
#ifndef RETNET_MODELS_POSITION_BUFFERS_H_
#define RETNET_MODELS_POSITION_BUFFERS_H_

#include "absl/status/status.h"
#include "models/checkpoint.h"
#include "models/config.h"

namespace retnet {

// Their code loads these buffers rather than computing them. A file of 16-bit types has them
// rounded, and then the rounded numbers are what the model was evaluated with. So they take the
// place of config->theta and config->decay, unless they are those within the rounding of fp32: the
// formula is then more exact far out. INVALID_ARGUMENT for a buffer that is no such list.
absl::Status ReadPositionBuffers(const Checkpoint& checkpoint, RetNetConfig* config);

}  // namespace retnet

#endif  // RETNET_MODELS_POSITION_BUFFERS_H_
