// The CPU backend: the operators of the concept Kernels, computed at the call; the reads and writes
// of states beside it.
#ifndef RETNET_KERNELS_CPU_CPU_KERNELS_H_
#define RETNET_KERNELS_CPU_CPU_KERNELS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cpu/aligned_array.h"
#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/packed.h"
#include "kernels/cpu/retention_groups.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/sampling.h"
#include "kernels/cpu/states.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/cpu/transfers.h"
#include "kernels/host_steps.h"
#include "kernels/kernels.h"
#include "kernels/tensor.h"

namespace retnet::cpu {

struct CpuOptions {
  int32_t threads = 0;  // the caller's included; 0: AvailableCores()
  InstructionSet instruction_set = BestInstructionSet();
  int32_t max_rows = 512;  // that one operator may be given
};

// Bits do not depend on the number of threads, nor a row's on the rows beside it.
// Thread-compatible.
class CpuKernels : public HostSteps {
 public:
  using Weight = PackedWeight;
  using Buffer = AlignedArray<float>;
  static constexpr bool kQueues = false;
  static constexpr ElementType kTailType = ElementType::kFloat32;
  using States = CpuStates;
  using RetentionPlan = std::span<const RetentionSegment>;
  struct Rotation {
    std::vector<double> thetas;  // [pairs], radians a token
    Buffer cosines;              // [max_rows, pairs]
    Buffer sines;                // [max_rows, pairs]
    int64_t rows = 0;            // that Rotate has written
  };

  explicit CpuKernels(const CpuOptions& options);

  int32_t threads() const { return pool_.threads(); }
  InstructionSet instruction_set() const { return options_.instruction_set; }

  // See the concept Kernels. Errors are RESOURCE_EXHAUSTED for memory and INVALID_ARGUMENT for
  // tensors that cannot be stacked.
  absl::StatusOr<Weight> Pack(std::span<const HostTensor> tensors);
  // Of the memory for operators that Pack makes beside the weights, once the widest of them has
  // `inputs` and the longest `outputs`.
  int64_t WorkspaceBytes(int64_t inputs, int64_t outputs) const;
  absl::StatusOr<Buffer> Upload(std::span<const float> values);
  absl::StatusOr<Buffer> Allocate(int64_t size);
  absl::StatusOr<States> AllocateStates(const RetentionShape& shape, std::span<const float> decay);
  absl::StatusOr<Rotation> AllocateRotation(int64_t max_rows, std::span<const double> thetas);

  void SetSampledRows(int32_t) const {}  // both classes are one
  RetentionPlan PlanRetention(std::span<const RetentionSegment> segments) const { return segments; }
  void Embed(std::span<const TokenId> tokens, const LastTokens& last_tokens, const Weight& weight,
             float multiplier, MatrixView<float> x);
  void Normalize(Norm norm, MatrixView<float> x);
  void Rotate(std::span<const int32_t> positions, Rotation& rotation);
  void NormMatMul(MatrixView<const float> x, Norm norm, const Weight& weight, MatrixView<float> y);
  // Each block's sum is added to x in order of k (product.h).
  void MatMulAdd(MatrixView<const float> y, const Weight& weight, MatrixView<float> x);
  void NormGatedMatMul(MatrixView<const float> x, Norm norm, const Weight& weight,
                       Activation activation, MatrixView<float> y);
  void Retention(int32_t layer, std::span<const RetentionSegment> segments,
                 MatrixView<const float> projections, const Rotation& rotation, Norm norm,
                 States& states, MatrixView<float> out);
  void Gather(MatrixView<const float> x, std::span<const int32_t> indices, MatrixView<float> y);
  void Sample(MatrixView<const float> logits, std::span<const SampleRequest> requests,
              std::span<const int32_t> keep_in, LastTokens& last_tokens,
              std::span<SampleResult> results);

  int64_t BaseBytes(const RetentionShape& shape) const { return States::BaseBytes(shape); }
  int64_t TailTokenBytes(const RetentionShape& shape) const {
    return States::TailTokenBytes(shape);
  }
  // On a thread of their own, in order; `states` live until Finish. What they touch is nobody
  // else's meanwhile, as the concept Kernels says, so steps go on beside them.
  void ReadBase(const States& states, int32_t base, std::span<std::byte> bytes);
  void WriteBase(std::span<const std::byte> bytes, int32_t base, States& states);
  void ReadTail(const States& states, int32_t slot, int32_t tokens, std::span<std::byte> bytes);
  void WriteTail(std::span<const std::byte> bytes, int32_t tokens, int32_t slot, States& states);
  void AfterTransfers(std::function<void(const absl::Status&)> done);
  absl::Status Finish();
  void CopyTail(int32_t from, int32_t to, int32_t tokens, States& states) const {
    states.CopyTail(from, to, tokens);
  }

 private:
  // Columns of gate and up that a thread computes before it joins them; `up` may start inside a
  // strip.
  static constexpr int64_t kGatedStrips = 8;
  static constexpr int64_t kGatedColumns = (2 * kGatedStrips + 1) * kStripColumns;

  // Calls function(row) for each row, by several threads where `columns` makes that worthwhile.
  template <typename F>
  void ForEachRow(int64_t rows, int64_t columns, const F& function);
  // Calls function(first row, rows, first strip, strips, thread) for parts that together are `rows`
  // times `strips`, by several threads where the products, `inputs` deep, make that worthwhile.
  template <typename F>
  void ForEachPart(int64_t rows, int64_t strips, int64_t inputs, const F& function);

  // x, or RMSNorm(x), as factors for `weight`; valid until the next call.
  PackedActivations Prepare(MatrixView<const float> x, const Norm* norm, const Weight& weight);
  void Multiply(const PackedActivations& x, const Weight& weight, bool add, MatrixView<float> y);

  // Constant after construction.
  const CpuOptions options_;
  const MatMulOperators matmul_;
  const RowOperators row_operators_;

  ThreadPool pool_;
  CpuSampler sampler_;
  RetentionGroups retention_groups_;  // of the call of Retention that computes

  // Written before they are read, in each product.
  AlignedArray<uint32_t> activations_;  // grown by Pack, for max_rows of the widest weight
  AlignedArray<float> gated_;           // [threads, max_rows, kGatedColumns]

  CpuTransfers transfers_;
};

}  // namespace retnet::cpu

#endif  // RETNET_KERNELS_CPU_CPU_KERNELS_H_
