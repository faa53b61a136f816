// The goldens of tests/testdata: sequences with the logits and states of the original code.
#ifndef RETNET_TESTS_MODELS_GOLDEN_H_
#define RETNET_TESTS_MODELS_GOLDEN_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "kernels/tensor.h"

namespace retnet {

struct GoldenSequence {
  std::vector<TokenId> tokens;
  std::vector<int32_t> positions;  // of the rows of `logits`
  std::vector<float> logits;       // [positions, vocabulary]
  std::map<int32_t, std::vector<float>>
      states;  // by layer: [heads, key_dim, value_dim] after all tokens
  // Errors of a double-precision model whose stored activations are rounded to bf16; 0 where not
  // measured.
  double bf16_max_error = 0;
  double bf16_rms_error = 0;
};

// A folder whose checkpoint the server reads as it is.
struct Golden {
  std::string name;
  bool bf16_weights = false;
  double float32_bound = 2e-4;  // of the errors of logits that are computed in fp32
  bool has_states = true;
};
const std::vector<Golden>& Goldens();

// The checkpoint's folder, tests/testdata/goldens/NAME.
std::string GoldenFolder(const std::string& name);
std::vector<GoldenSequence> ReadGolden(const std::string& name);

struct LogitsError {
  double max = 0;
  double rms = 0;
};
// Of the rows at `sequence.positions` of `logits` [tokens, vocabulary]. NaN anywhere makes both
// NaN.
LogitsError CompareWithGolden(const std::vector<float>& logits, const GoldenSequence& sequence);

}  // namespace retnet

#endif  // RETNET_TESTS_MODELS_GOLDEN_H_
