// The three textbook forms of the retention of one head (Sun et al., arXiv 2307.08621, section 2),
// in double: the same function three times, to hold each other and the operator against.
#ifndef RETNET_KERNELS_REFERENCE_RETENTION_FORMS_H_
#define RETNET_KERNELS_REFERENCE_RETENTION_FORMS_H_

#include <cstdint>
#include <vector>

namespace retnet {

// Tokens of one head from position 0 on; q and k are rotated and q is scaled already.
struct HeadTokens {
  int32_t tokens = 0;
  int32_t key_dim = 0;
  int32_t value_dim = 0;
  double decay = 0;       // γ
  std::vector<double> q;  // [tokens, key_dim]
  std::vector<double> k;  // [tokens, key_dim]
  std::vector<double> v;  // [tokens, value_dim]
};

// o_n = Σ_{m≤n} γ^(n−m) (q_n·k_m) v_m.   All return o [tokens, value_dim].
std::vector<double> ParallelRetention(const HeadTokens& head);
// S_n = γ S_{n−1} + k_nᵀ v_n,   o_n = q_n S_n.
std::vector<double> RecurrentRetention(const HeadTokens& head);
// For each chunk of `chunk` tokens i = 0 … C−1 (the last may be shorter) that follows state S:
// o_i = γ^(i+1) q_i S + Σ_{j≤i} γ^(i−j) (q_i·k_j) v_j;   S' = γ^C S + Σ_j γ^(C−1−j) k_jᵀ v_j.
std::vector<double> ChunkwiseRetention(const HeadTokens& head, int32_t chunk);

}  // namespace retnet

#endif  // RETNET_KERNELS_REFERENCE_RETENTION_FORMS_H_
