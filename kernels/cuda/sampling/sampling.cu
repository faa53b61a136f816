// ptxas: 96 registers on sm_80 and 92 on sm_90, 792 bytes of shared memory, no spills. One block of
// at most 512 threads per row. One block per multiprocessor is enough, since a decode step has few
// rows.
//   occupancy SampleRow                     512      0  1  1
#include <algorithm>

#include "kernels/cuda/runtime/block_reduce.cuh"
#include "kernels/cuda/runtime/launch.cuh"
#include "kernels/cuda/sampling/sampling.h"
#include "kernels/cuda/sampling/topk_search.cuh"
#include "kernels/philox.h"

namespace retnet::cuda {
namespace {

constexpr float kGreatestFloat = 3.402823466e38f;
// Exceeds the fp32 error of z + g for every token that can win; |z| < 30 for these.
constexpr float kSlack = 1e-3f;
constexpr int kMostThreads = 512;
constexpr int kTokensOfThread = 16;  // tokens per thread at least: few warps for small vocabularies

struct Shared {
  SearchSums sums;
  uint64_t greatest[kWarp];
  double total[kWarp];
  uint64_t top[kMaxTopLogprobs];
  int top_count;
};

// In place of a key, which is less: the row has a logit that is not finite.
constexpr uint64_t kNotFinite = ~uint64_t{0};

// What a logit that is not finite after the edits counts as: kernels/sampling.h. Adding 0 turns −0
// into 0.
__device__ float Finite(float logit) {
  return isnan(logit) ? -INFINITY : fminf(logit, kGreatestFloat) + 0.0f;
}

__device__ double ScaledLogit(float logit, float greatest, float temperature) {
  return (double{logit} - greatest) / temperature;
}

// Maps doubles to integers in the same order. The result is above 0 unless the value is NaN.
__device__ uint64_t OrderedBits(double value) {
  const auto bits = static_cast<uint64_t>(__double_as_longlong(value));
  return bits >> 63 != 0 ? ~bits : bits | uint64_t{1} << 63;
}
__device__ double FromOrderedBits(uint64_t ordered) {
  return __longlong_as_double(
      static_cast<int64_t>(ordered >> 63 != 0 ? ordered & ~(uint64_t{1} << 63) : ~ordered));
}

// Copies logits [row.columns] to `row` and pads them. Returns the key of the first token, or
// kNotFinite.
__device__ uint64_t Copy(const float* logits, const EditedRow& row, Shared* shared) {
  uint64_t greatest = 0;
  for (int32_t i = threadIdx.x; i < EditedStride(row.columns); i += blockDim.x) {
    row.logits[i] = i < row.columns ? logits[i] + 0.0f : -INFINITY;  // −0 becomes 0
    if (i >= row.columns) continue;
    const bool finite = fabsf(row.logits[i]) <= kGreatestFloat;
    greatest = max(greatest, finite ? KeyOf(row.logits[i], i) : kNotFinite);
  }
  return BlockMax(greatest, shared->greatest);
}

// log Σ exp(logit). `greatest` is the greatest logit and must be finite.
__device__ double LogTotal(const EditedRow& row, float greatest, Shared* shared) {
  float sum = 0;
  row.ForEach([&](TokenId, float logit) { sum += expf(logit - greatest); });
  return greatest + log(BlockSum(double{sum}, shared->total));
}

// Applies the edits, at most one per token. Returns the key of the row's first token afterwards.
__device__ uint64_t Edit(const EditedRow& row, const LogitEdit* edits, int32_t count,
                         Shared* shared) {
  for (int32_t i = threadIdx.x; i < count; i += blockDim.x) {
    const LogitEdit edit = edits[i];
    const float logit = row.logits[edit.token];
    const float scaled = logit > 0 ? logit / edit.repetition : logit * edit.repetition;
    row.logits[edit.token] = Finite(scaled + edit.add);
  }
  __syncthreads();
  uint64_t greatest = 0;
  row.ForEach([&](TokenId token, float logit) { greatest = max(greatest, KeyOf(logit, token)); });
  return BlockMax(greatest, shared->greatest);
}

// For searches that count tokens only.
struct NoWeight {
  __device__ uint64_t operator()(float) const { return 0; }
};

// The key of the last of the `count` first tokens. 0 < count <= row.columns.
__device__ uint64_t LastOf(const EditedRow& row, int32_t count, uint64_t first, Shared* shared) {
  if (count == row.columns) return 0;
  return Search(
      row, /*low=*/0, first + 1, NoWeight(),
      [count](const Reach& reach) { return reach.tokens >= static_cast<uint32_t>(count); },
      &shared->sums);
}

// The key of the last token that top_k and top_p keep.
__device__ uint64_t Cut(const EditedRow& row, const DeviceRequest& request, uint64_t first,
                        Shared* shared) {
  const bool cuts_top_k = request.top_k > 0 && request.top_k < row.columns;
  const uint64_t least = cuts_top_k ? LastOf(row, request.top_k, first, shared) : 0;
  if (!(request.top_p < 1)) return least;
  const Weigher weigh{LogitOf(first), request.temperature, /*in_double=*/cuts_top_k};
  uint64_t sum = 0;
  row.ForEach([&](TokenId token, float logit) {
    if (KeyOf(logit, token) >= least) sum += weigh(logit);
  });
  const auto total = BlockSum(sum, shared->greatest);
  const double share = ceil(double{request.top_p} * static_cast<double>(total));
  const uint64_t needed = min(max(static_cast<uint64_t>(share), uint64_t{1}), total);
  return Search(
      row, least, first + 1, weigh, [needed](const Reach& reach) { return reach.weight >= needed; },
      &shared->sums);
}

// (x + ½) · 2⁻³², rounded once.
__device__ float Uniform(uint32_t word) {
  return fmaf(static_cast<float>(word >> 16), 0x1p-16f,
              (static_cast<float>(word & 0xFFFFu) + 0.5f) * 0x1p-32f);
}

// The Gumbel noise −ln(−ln u) in fp32. −ln u = ln(1 + (1 − u) / u) keeps its relative precision for
// u near 0 and near 1.
__device__ float Noise(uint32_t word) { return -logf(log1pf(Uniform(~word) / Uniform(word))); }

// Samples a row by the Gumbel-max rule, from the tokens whose key is at least `least`.
class Gumbel {
 public:
  __device__ Gumbel(const EditedRow& row, const DeviceRequest& request, uint64_t first,
                    uint64_t least)
      : row_(row),
        request_(request),
        greatest_(LogitOf(first)),
        first_(TokenOf(first)),
        least_(least) {}

  // fp32 only excludes tokens that cannot win. The others are compared in double.
  __device__ TokenId Sample(Shared* shared) const {
    const double first_score = Score(greatest_, first_);
    const float bound = FindBound(static_cast<float>(first_score), shared);
    uint64_t best = OrderedBits(first_score);
    TokenId best_token = first_;
    const float least_z = logf(request_.min_p) - kSlack;
    ForEachScore(bound - 2 * kSlack, least_z, [&](TokenId token, float logit, float) {
      if (exp(ScaledLogit(logit, greatest_, request_.temperature)) < double{request_.min_p}) return;
      const uint64_t score = OrderedBits(Score(logit, token));
      if (score < best || (score == best && token > best_token)) return;
      best = score;
      best_token = token;
    });
    const uint64_t winner = BlockMax(best, shared->greatest);
    const uint32_t inverse = best == winner ? ~static_cast<uint32_t>(best_token) : 0u;
    return TokenOf(BlockMax(inverse, shared->greatest));
  }

 private:
  // The score z + g in double.
  __device__ double Score(float logit, TokenId token) const {
    const uint32_t word = RandomWord(request_.seed, request_.draw, token);
    const double uniform = (word + 0.5) * 0x1p-32;
    return ScaledLogit(logit, greatest_, request_.temperature) - log(-log(uniform));
  }

  // The greatest fp32 score among the tokens that min_p certainly keeps. The first token is one of
  // them.
  __device__ float FindBound(float bound, Shared* shared) const {
    const float certain_z = logf(request_.min_p) + kSlack;
    ForEachScore(bound, certain_z,
                 [&](TokenId, float, float score) { bound = fmaxf(bound, score); });
    const uint64_t greatest = BlockMax(OrderedBits(bound), shared->greatest);
    return static_cast<float>(FromOrderedBits(greatest));
  }

  // Calls function(token, logit, fp32 score) for each kept token whose score is at least `bound`
  // and whose z is at least `least_z`. `function` may raise `bound`, which is read again for every
  // four tokens.
  template <typename F>
  __device__ void ForEachScore(const float& bound, float least_z, const F& function) const {
    for (int32_t first = 4 * threadIdx.x; first < row_.columns; first += 4 * blockDim.x) {
      const float4 four = *reinterpret_cast<const float4*>(row_.logits + first);
      const float logits[4] = {four.x, four.y, four.z, four.w};
      const float needed_z =
          fmaxf(least_z, bound - static_cast<float>(kGreatestGumbelNoise) - kSlack);
      float z[4];
      bool reaches = false;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        z[i] = (logits[i] - greatest_) / request_.temperature;
        reaches |= z[i] >= needed_z && KeyOf(logits[i], first + i) >= least_;
      }
      if (!reaches) continue;
      const auto words =
          Philox4x32({static_cast<uint32_t>(first) / 4, Low(request_.draw), High(request_.draw), 0},
                     {Low(request_.seed), High(request_.seed)});
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (!(z[i] >= needed_z) || KeyOf(logits[i], first + i) < least_) continue;
        const float score = z[i] + Noise(words[i]);
        if (score >= bound) function(first + i, logits[i], score);
      }
    }
  }

  __device__ static uint32_t Low(uint64_t word) { return static_cast<uint32_t>(word); }
  __device__ static uint32_t High(uint64_t word) { return static_cast<uint32_t>(word >> 32); }

  const EditedRow row_;
  const DeviceRequest& request_;
  const float greatest_;
  const TokenId first_;
  const uint64_t least_;
};

__device__ TokenId Sample(const EditedRow& row, const DeviceRequest& request, uint64_t first,
                          Shared* shared) {
  if (LogitOf(first) == -INFINITY) return kNoToken;  // all are banned
  if (request.temperature == 0) return TokenOf(first);
  return Gumbel(row, request, first, Cut(row, request, first, shared)).Sample(shared);
}

__device__ float LogProbability(float logit, double log_total) {
  return static_cast<float>(fmax(logit - log_total, -double{kGreatestFloat}));
}

// Writes the `count` first tokens to `top`, best first.
__device__ void WriteTop(const EditedRow& row, int32_t count, uint64_t first, double log_total,
                         TokenLogprob* top, Shared* shared) {
  const uint64_t least = LastOf(row, count, first, shared);
  if (threadIdx.x == 0) shared->top_count = 0;
  __syncthreads();
  row.ForEach([&](TokenId token, float logit) {
    const uint64_t key = KeyOf(logit, token);
    if (token < row.columns && key >= least) shared->top[atomicAdd(&shared->top_count, 1)] = key;
  });
  __syncthreads();
  if (threadIdx.x < count) {
    const uint64_t key = shared->top[threadIdx.x];
    int rank = 0;
    for (int i = 0; i < count; ++i) rank += shared->top[i] > key;
    top[rank] = {TokenOf(key), LogProbability(LogitOf(key), log_total)};
  }
}

__device__ void WriteChosen(const SampledRows& rows, const DeviceRequest& request, TokenId token,
                            float logprob) {
  if (request.keep_in != kNotKept) rows.last_tokens[request.keep_in] = max(token, 0);
  rows.chosen[blockIdx.x] = {token, logprob};
}

__global__ void __launch_bounds__(kMostThreads, 1) SampleRow(SampledRows rows) {
  __shared__ Shared shared;
  LetNextKernelBegin();
  AwaitEarlierKernels();
  const DeviceRequest request = rows.requests[blockIdx.x];
  const int32_t columns = static_cast<int32_t>(rows.logits.columns);
  const float* logits = rows.logits.row(blockIdx.x);
  const EditedRow row{rows.edited + blockIdx.x * EditedStride(columns), columns};
  uint64_t first = Copy(logits, row, &shared);
  if (first == kNotFinite) {
    if (threadIdx.x == 0) WriteChosen(rows, request, kNoToken, NAN);
    return;
  }

  const bool wants_logprob = request.scored_token != kNoToken || request.logprob;
  double log_total = 0;
  if (wants_logprob || request.top_logprobs > 0) {
    log_total = LogTotal(row, LogitOf(first), &shared);
  }
  if (request.top_logprobs > 0) {
    WriteTop(row, min(request.top_logprobs, columns), first, log_total,
             rows.top + int64_t{blockIdx.x} * kMaxTopLogprobs, &shared);
  }
  TokenId token = request.scored_token;
  if (token == kNoToken) {
    if (request.edit_count > 0) {
      __syncthreads();  // WriteTop has read the logits
      first = Edit(row, request.edits, request.edit_count, &shared);
    }
    token = Sample(row, request, first, &shared);
  }
  if (threadIdx.x == 0) {
    const bool tells = wants_logprob && token != kNoToken;
    WriteChosen(rows, request, token, tells ? LogProbability(logits[token], log_total) : NAN);
  }
}

}  // namespace

cudaError_t Sample(const SampledRows& rows, KernelQueue queue) {
  const int64_t warps =
      (rows.logits.columns + kWarp * kTokensOfThread - 1) / (kWarp * kTokensOfThread);
  const auto threads =
      static_cast<unsigned>(kWarp * std::min<int64_t>(warps, kMostThreads / kWarp));
  return LaunchKernel(SampleRow, {static_cast<unsigned>(rows.logits.rows), threads}, queue, rows);
}

}  // namespace retnet::cuda
