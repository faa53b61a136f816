// The order of a row's tokens, and searches in it for where a cut lies.
#ifndef RETNET_KERNELS_CUDA_SAMPLING_TOPK_SEARCH_CUH_
#define RETNET_KERNELS_CUDA_SAMPLING_TOPK_SEARCH_CUH_

#include <cstdint>

#include "kernels/cuda/runtime/block_reduce.cuh"
#include "kernels/tensor.h"

namespace retnet::cuda {

// Greater for a token that comes earlier: of a greater logit, or of a lower id among equal ones.
// Logits are finite or −infinity, and no −0.
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

// A row of logits whose last group of four is filled with −infinity.
struct EditedRow {
  float* logits;  // [EditedStride(columns)]
  int32_t columns;

  // Calls function(token, logit) of every token, in groups of four a thread.
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

// A probability in units of 2⁻⁴² of the greatest one: sums of integers have no order.
struct Weigher {
  float greatest;
  float temperature;
  bool in_double;  // few tokens: exact to the unit; else with the error of an fp32 exponential

  __device__ uint64_t operator()(float logit) const {
    constexpr double kUnits = 4398046511104.0;  // 2⁴²
    if (in_double) return __double2ull_rn(exp((double{logit} - greatest) / temperature) * kUnits);
    return __float2ull_rn(expf((logit - greatest) / temperature) * static_cast<float>(kUnits));
  }
};

// How many tokens reach a key, and what they weigh together.
struct Reach {
  uint32_t tokens = 0;
  uint64_t weight = 0;
};

inline constexpr int kPivots = 3;

// In shared memory; three, so that one barrier a pass suffices.
struct SearchSums {
  uint32_t tokens[3][kPivots];
  unsigned long long weight[3][kPivots];
};

// Numbers below 2⁶² of all lanes, in limbs whose sums fit a word.
__device__ inline uint64_t WarpAdd(uint64_t value) {
  constexpr uint32_t kLimb = 22;
  constexpr uint64_t kMask = (1u << kLimb) - 1;
  const auto sum = [](uint64_t limb) -> uint64_t {
    return __reduce_add_sync(kAllLanes, static_cast<uint32_t>(limb));
  };
  return sum(value & kMask) + (sum(value >> kLimb & kMask) << kLimb) +
         (sum(value >> 2 * kLimb) << 2 * kLimb);
}

// The key of the last token of the fewest first ones that are enough: enough(reach of a key) is
// true of `low`, which all tokens of the cut so far reach, and false of `high`, which none does.
// All keys of the row's tokens differ, so that narrowing the bounds ends with one token.
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
    Reach reaches[kPivots];  // within the bounds
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
    for (int i = 0; i < kPivots; ++i) {  // from the lowest, which most tokens reach
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
