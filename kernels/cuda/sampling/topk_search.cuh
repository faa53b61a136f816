// The order of the tokens of a row, and the search for the last token of a cut.
#ifndef RETNET_KERNELS_CUDA_SAMPLING_TOPK_SEARCH_CUH_
#define RETNET_KERNELS_CUDA_SAMPLING_TOPK_SEARCH_CUH_

#include <cstdint>

#include "kernels/cuda/runtime/block_reduce.cuh"
#include "kernels/tensor.h"

namespace retnet::cuda {

// The key of a token. Tokens that come earlier have greater keys: those with a greater logit, and
// among equal logits those with a lower id. Logits must be finite or −infinity, and not −0.
__device__ inline uint64_t KeyOf(float logit, TokenId token) {
  const auto bits = static_cast<uint32_t>(__float_as_int(logit));
  const uint32_t ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return uint64_t{ordered} << 32 | ~static_cast<uint32_t>(token);
}
__device__ inline float LogitOf(uint64_t key) {
  const auto ordered = static_cast<uint32_t>(key >> 32);
  return __uint_as_float(ordered & 0x80000000u ? ordered & 0x7FFFFFFFu : ~ordered);
}
__device__ inline TokenId TokenOf(uint64_t key) {
  return static_cast<TokenId>(~static_cast<uint32_t>(key));
}

// A row of logits. The last group of four is filled up with −infinity.
struct EditedRow {
  float* logits;  // [EditedStride(columns)]
  int32_t columns;

  // Calls function(token, logit) for every token and for the padding. Each thread takes groups of
  // four.
  template <typename F>
  __device__ void ForEach(const F& function) const {
    for (int32_t first = 4 * threadIdx.x; first < columns; first += 4 * blockDim.x) {
      const float4 four = *reinterpret_cast<const float4*>(logits + first);
      function(first, four.x);
      function(first + 1, four.y);
      function(first + 2, four.z);
      function(first + 3, four.w);
    }
  }
};

// A probability as an integer, in units of 2⁻⁴² of the greatest one. A sum of integers does not
// depend on the order of the additions.
struct Weigher {
  float greatest;
  float temperature;
  bool in_double;  // exact to one unit, for few tokens; otherwise with the error of fp32 expf

  __device__ uint64_t operator()(float logit) const {
    constexpr double kUnits = 4398046511104.0;  // 2⁴²
    if (in_double) return __double2ull_rn(exp((double{logit} - greatest) / temperature) * kUnits);
    return __float2ull_rn(expf((logit - greatest) / temperature) * static_cast<float>(kUnits));
  }
};

// The number of tokens whose key is at least some key, and the sum of their weights.
struct Reach {
  uint32_t tokens = 0;
  uint64_t weight = 0;
};

inline constexpr int kPivots = 3;

// Sums in shared memory. Three sets are used in turn, so that one barrier per pass is enough.
struct SearchSums {
  uint32_t tokens[3][kPivots];
  unsigned long long weight[3][kPivots];
};

// The sum over all lanes of numbers below 2⁶². It adds limbs of 22 bits, whose sums fit in 32 bits.
__device__ inline uint64_t WarpAdd(uint64_t value) {
  constexpr uint32_t kLimb = 22;
  constexpr uint64_t kMask = (1u << kLimb) - 1;
  const auto sum = [](uint64_t limb) -> uint64_t {
    return __reduce_add_sync(kAllLanes, static_cast<uint32_t>(limb));
  };
  return sum(value & kMask) + (sum(value >> kLimb & kMask) << kLimb) +
         (sum(value >> 2 * kLimb) << 2 * kLimb);
}

// Finds the shortest prefix of the tokens, in order of descending keys, that is enough. Returns the
// key of its last token. enough(reach of a key) must be true for `low` and false for `high`. All
// tokens of the cut so far have keys of at least `low`; no token has a key of at least `high`. All
// keys of a row differ, so narrowing the bounds ends with one token.
template <typename Weigh, typename Enough>
__device__ uint64_t Search(const EditedRow& row, uint64_t low, uint64_t high, const Weigh& weigh,
                           const Enough& enough, SearchSums* sums) {
  uint32_t tokens_of_low = 0xFFFFFFFFu;
  Reach reach_of_high;
  if (threadIdx.x < 3 * kPivots) {
    sums->tokens[threadIdx.x / kPivots][threadIdx.x % kPivots] = 0;
    sums->weight[threadIdx.x / kPivots][threadIdx.x % kPivots] = 0;
  }
  __syncthreads();
  for (int pass = 0; high - low > 1 && tokens_of_low - reach_of_high.tokens > 1; ++pass) {
    const uint64_t step = max((high - low) / (kPivots + 1), uint64_t{1});
    Reach reaches[kPivots];  // counts only keys within the bounds
    row.ForEach([&](TokenId token, float logit) {
      const uint64_t key = KeyOf(logit, token);
      if (key < low + step || key >= high) return;
      const uint64_t weight = weigh(logit);
#pragma unroll
      for (int i = 0; i < kPivots; ++i) {
        if (key < low + (i + 1) * step) continue;
        ++reaches[i].tokens;
        reaches[i].weight += weight;
      }
    });
    const int now = pass % 3;
    if (threadIdx.x < kPivots) {
      sums->tokens[(pass + 1) % 3][threadIdx.x] = 0;
      sums->weight[(pass + 1) % 3][threadIdx.x] = 0;
    }
#pragma unroll
    for (int i = 0; i < kPivots; ++i) {
      const uint32_t tokens = __reduce_add_sync(kAllLanes, reaches[i].tokens);
      const uint64_t weight = WarpAdd(reaches[i].weight);
      if (Lane() == 0 && tokens > 0) {
        atomicAdd(&sums->tokens[now][i], tokens);
        atomicAdd(&sums->weight[now][i], static_cast<unsigned long long>(weight));
      }
    }
    __syncthreads();
    const uint64_t from = low;
    const Reach base = reach_of_high;
    for (int i = 0; i < kPivots; ++i) {  // from the lowest pivot on, which most tokens reach
      const Reach reach = {base.tokens + sums->tokens[now][i], base.weight + sums->weight[now][i]};
      if (enough(reach)) {
        low = from + (i + 1) * step;
        tokens_of_low = reach.tokens;
      } else {
        high = min(high, from + (i + 1) * step);
        reach_of_high = reach;
        break;
      }
    }
  }
  __syncthreads();
  return low;
}

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_SAMPLING_TOPK_SEARCH_CUH_
