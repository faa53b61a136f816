// The oracle of every other backend: each operator as its formula reads in kernels/kernels.h, in
// plain loops and double precision. Numbers between operators, bases and tails are fp32, as the
// seam has them; a base of another type holds only numbers that are of that type too. For tests and
// small models: it is slow. Thread-compatible.
#ifndef RETNET_KERNELS_REFERENCE_REFERENCE_KERNELS_H_
#define RETNET_KERNELS_REFERENCE_REFERENCE_KERNELS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/host_steps.h"
#include "kernels/kernels.h"
#include "kernels/sampling.h"
#include "kernels/tensor.h"

namespace retnet {

class ReferenceKernels : public HostSteps {
 public:
  static constexpr bool kQueues = false;
  static constexpr ElementType kTailType = ElementType::kFloat32;
  using RetentionPlan = std::span<const RetentionSegment>;
  struct Weight {
    int64_t rows = 0;
    int64_t columns = 0;
    std::vector<float> values;  // [rows, columns]

    int64_t bytes() const { return rows * columns * int64_t{sizeof(float)}; }
  };

  // Numbers that have not been written are NaN, so that a read of them shows.
  class Buffer {
   public:
    Buffer() = default;
    explicit Buffer(int64_t size);
    float* data() const { return values_.get(); }

   private:
    std::unique_ptr<float[]> values_;
  };

  struct States {
    RetentionShape shape;
    std::vector<double> decay;  // [heads]
    Buffer bases;               // [slots, layers, heads, key_dim, value_dim]
    Buffer tails;  // [slots, kChunk, {[layers, kv_heads, key_dim], [layers, kv_heads, value_dim]}]

    float* Base(int32_t base, int32_t layer, int32_t head) const;  // [key_dim, value_dim]
    float* TailKey(int32_t slot, int32_t token, int32_t layer, int32_t kv_head) const;
    float* TailValue(int32_t slot, int32_t token, int32_t layer, int32_t kv_head) const;
    int64_t TailTokenSize() const;  // numbers of one token, all layers
    int64_t BaseSize() const;       // numbers of one base, all layers
  };

  struct PositionTables {
    std::vector<double> theta;       // [pairs], radians a token
    std::vector<double> decays;      // [heads], γ; empty: not normalized
    std::vector<double> cosines;     // [rows, pairs]
    std::vector<double> sines;       // [rows, pairs]
    std::vector<double> decay_sums;  // [rows, heads]
  };

  // INVALID_ARGUMENT for no matrices or unequal columns.
  absl::StatusOr<Weight> Pack(std::span<const HostTensor> matrices) const;
  absl::StatusOr<Buffer> Upload(std::span<const float> values) const;
  absl::StatusOr<Buffer> Allocate(int64_t size) const;
  absl::StatusOr<States> AllocateStates(const RetentionShape& shape,
                                        std::span<const float> decay) const;
  absl::StatusOr<PositionTables> AllocatePositionTables(int64_t max_rows,
                                                        std::span<const double> theta,
                                                        std::span<const float> decays) const;

  void SetSampledRows(int32_t) const {}  // both classes are one
  RetentionPlan PlanRetention(std::span<const RetentionSegment> segments) const { return segments; }
  void Embed(std::span<const TokenId> tokens, const LastTokens& last_tokens, const Weight& weight,
             float multiplier, MatrixView<float> x) const;
  void Normalize(Norm norm, MatrixView<float> x) const;
  void FillPositionTables(std::span<const int32_t> positions, PositionTables& tables) const;
  void NormMatMul(MatrixView<const float> x, Norm norm, const Weight& weight,
                  MatrixView<float> y) const;
  void MatMulAdd(MatrixView<const float> y, const Weight& weight, MatrixView<float> x) const;
  void NormGatedMatMul(MatrixView<const float> x, Norm norm, const Weight& weight,
                       Activation activation, MatrixView<float> y) const;
  void Retention(int32_t layer, std::span<const RetentionSegment> segments,
                 MatrixView<const float> projections, const PositionTables& tables, Norm norm,
                 States& states, MatrixView<float> out) const;
  void Gather(MatrixView<const float> x, std::span<const int32_t> indices,
              MatrixView<float> y) const;
  void Sample(MatrixView<const float> logits, std::span<const SampleRequest> requests,
              std::span<const int32_t> keep_in, LastTokens& last_tokens,
              std::span<SampleResult> results) const;

  int64_t BaseBytes(const RetentionShape& shape) const;
  int64_t TailTokenBytes(const RetentionShape& shape) const;
  void ReadBase(const States& states, int32_t base, std::span<std::byte> bytes) const;
  void WriteBase(std::span<const std::byte> bytes, int32_t base, States& states) const;
  void ReadTail(const States& states, int32_t slot, int32_t tokens,
                std::span<std::byte> bytes) const;
  void WriteTail(std::span<const std::byte> bytes, int32_t tokens, int32_t slot,
                 States& states) const;
  void CopyTail(int32_t from, int32_t to, int32_t tokens, States& states) const;
};

}  // namespace retnet

#endif  // RETNET_KERNELS_REFERENCE_REFERENCE_KERNELS_H_
