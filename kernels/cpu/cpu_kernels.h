// The CPU backend. Operators compute during the call; reads and writes of states run on a thread of
// their own.
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
#include "kernels/host_steps.h"
#include "kernels/kernels.h"
#include "kernels/serial_executor.h"
#include "kernels/tensor.h"

namespace retnet::cpu {

struct CpuOptions {
  int32_t threads = 0;  // including the calling thread; 0: AvailableCores()
  InstructionSet instruction_set = BestInstructionSet();
  int32_t max_rows = 512;  // the most rows of one operator call
};

// Implements the concept Kernels. The bits of a row depend neither on the number of threads nor on
// the other rows of the call. Thread-compatible.
class CpuKernels : public HostSteps {
 public:
  using Weight = PackedWeight;
  using Buffer = AlignedArray<float>;
  static constexpr bool kQueues = false;
  static constexpr ElementType kTailType = ElementType::kFloat32;
  using States = CpuStates;
  using RetentionPlan = std::span<const RetentionSegment>;
  struct PositionTables {
    std::vector<double> thetas;  // [pairs], radians per token
    std::vector<double> decays;  // [heads], γ; empty: not normalized
    Buffer cosines;              // [max_rows, pairs]
    Buffer sines;                // [max_rows, pairs]
    Buffer decay_sums;           // [max_rows, heads]
    int64_t rows = 0;            // rows that FillPositionTables has written
  };

  explicit CpuKernels(const CpuOptions& options);

  int32_t threads() const { return pool_.threads(); }
  InstructionSet instruction_set() const { return options_.instruction_set; }

  // See the concept Kernels. RESOURCE_EXHAUSTED if memory cannot be allocated. INVALID_ARGUMENT if
  // the tensors cannot be stacked.
  absl::StatusOr<Weight> Pack(std::span<const HostTensor> tensors);
  // Bytes of the workspace that Pack allocates in addition to the weights. `inputs` and `outputs`
  // are the maxima over all weights.
  int64_t WorkspaceBytes(int64_t inputs, int64_t outputs) const;
  absl::StatusOr<Buffer> Upload(std::span<const float> values);
  absl::StatusOr<Buffer> Allocate(int64_t size);
  absl::StatusOr<States> AllocateStates(const RetentionShape& shape, std::span<const float> decay);
  absl::StatusOr<PositionTables> AllocatePositionTables(int64_t max_rows,
                                                        std::span<const double> thetas,
                                                        std::span<const float> decays);

  void SetSampledRows(int32_t) const {}  // both classes use the same arithmetic
  RetentionPlan PlanRetention(std::span<const RetentionSegment> segments) const { return segments; }
  void Embed(std::span<const TokenId> tokens, const LastTokens& last_tokens, const Weight& weight,
             float multiplier, MatrixView<float> x);
  void Normalize(Norm norm, MatrixView<float> x);
  void FillPositionTables(std::span<const int32_t> positions, PositionTables& tables);
  void NormMatMul(MatrixView<const float> x, Norm norm, const Weight& weight, MatrixView<float> y);
  // Adds the sum of each block of k to x, in ascending order (matmul.h).
  void MatMulAdd(MatrixView<const float> y, const Weight& weight, MatrixView<float> x);
  void NormGatedMatMul(MatrixView<const float> x, Norm norm, const Weight& weight,
                       Activation activation, MatrixView<float> y);
  void Retention(int32_t layer, std::span<const RetentionSegment> segments,
                 MatrixView<const float> projections, const PositionTables& tables, Norm norm,
                 States& states, MatrixView<float> out);
  void Gather(MatrixView<const float> x, std::span<const int32_t> indices, MatrixView<float> y);
  void Sample(MatrixView<const float> logits, std::span<const SampleRequest> requests,
              std::span<const int32_t> keep_in, LastTokens& last_tokens,
              std::span<SampleResult> results);

  int64_t BaseBytes(const RetentionShape& shape) const { return States::BaseBytes(shape); }
  int64_t TailTokenBytes(const RetentionShape& shape) const {
    return States::TailTokenBytes(shape);
  }
  // These run on a transfer thread, in call order. `states` must live until Finish. Steps may run
  // at the same time: by the concept Kernels, nothing else touches a base or tail in transfer.
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
  // NormGatedMatMul computes this many strips of gate, and the same columns of up, before it joins
  // them. One more strip is for up, which may start inside a strip.
  static constexpr int64_t kGatedStrips = 8;
  static constexpr int64_t kGatedColumns = (2 * kGatedStrips + 1) * kStripColumns;

  // Calls function(row) for each row. Uses several threads if `rows` · `columns` elements are
  // enough.
  template <typename F>
  void ForEachRow(int64_t rows, int64_t columns, const F& function);
  // Calls function(first row, rows, first strip, strips, thread) for parts that together cover
  // `rows` times `strips`. Uses several threads if there are enough multiply-adds; `inputs` is the
  // depth.
  template <typename F>
  void ForEachPart(int64_t rows, int64_t strips, int64_t inputs, const F& function);

  // Converts x, or RMSNorm(x) if `norm` is not null, to factors for `weight`. Valid until the next
  // call.
  PackedActivations Prepare(MatrixView<const float> x, const Norm* norm, const Weight& weight);
  void Multiply(const PackedActivations& x, const Weight& weight, bool add, MatrixView<float> y);

  // Constant after construction.
  const CpuOptions options_;
  const MatMulOperators matmul_;
  const RowOperators row_operators_;

  ThreadPool pool_;
  CpuSampler sampler_;
  RetentionGroups retention_groups_;  // of the current call of Retention

  // Workspace. Each operator writes it before it reads it.
  AlignedArray<uint32_t> activations_;  // for max_rows of the widest weight; Pack enlarges it
  AlignedArray<float> gated_;           // [threads, max_rows, kGatedColumns]

  SerialExecutor transfers_;
};

}  // namespace retnet::cpu

#endif  // RETNET_KERNELS_CPU_CPU_KERNELS_H_
