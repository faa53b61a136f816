// How a checkpoint names and orders its tensors. One table for each layout that is served.
#ifndef RETNET_MODELS_LAYOUT_H_
#define RETNET_MODELS_LAYOUT_H_

#include <array>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "models/checkpoint.h"

namespace retnet {

// Names of tensors. Those of a layer follow its prefix, for example "model.layers.3.".
struct Layout {
  const char* name = nullptr;  // for the log

  const char* embeddings = nullptr;
  const char* embeddings_norm = nullptr;
  const char* norm = nullptr;
  const char* head = nullptr;

  const char* retention_norm = nullptr;
  const char* query = nullptr;
  const char* key = nullptr;
  const char* value = nullptr;
  const char* gate = nullptr;
  std::array<const char*, 2> head_norm = {};  // alternatives; none: the norm has no weight
  const char* output = nullptr;
  const char* mlp_norm = nullptr;
  const char* mlp_gate = nullptr;
  const char* mlp_up = nullptr;  // where it is absent, mlp_gate has the rows of both, gate first
  const char* down = nullptr;

  // The rotation turns neighbours, rows 2i and 2i + 1 of a head of q and k, rather than halves.
  bool rotates_neighbours = false;
  // θ of each pair, twice in a row, [key_dim], and ln γ, [heads]. nullptr: the layout has none.
  const char* angles = nullptr;
  const char* log_decays = nullptr;
};

// flash-linear-attention ("fla"), and this project's converter.
extern const Layout kFlaLayout;
// syncdoth/RetNet since October 2023, a port of torchscale to Hugging Face's transformers.
extern const Layout kSyncdothLayout;

// The prefix of the names in layer `layer`, in every layout.
std::string LayerPrefix(int32_t layer);

// INVALID_ARGUMENT for a checkpoint of a known layout whose mathematics is not this server's. The
// error is one sentence that names the layout and what is missing.
absl::Status CheckLayout(const Checkpoint& checkpoint);

}  // namespace retnet

#endif  // RETNET_MODELS_LAYOUT_H_
