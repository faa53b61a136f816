#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/retention/retention.h"
#include "kernels/cuda/retention/states.h"
#include "kernels/cuda/runtime/cuda_status.h"
#include "kernels/cuda/runtime/device_array.h"
#include "kernels/cuda/runtime/staging.h"
#include "kernels/element.h"
#include "tests/kernels/backends.h"
#include "tests/kernels/retention_cases.h"

namespace retnet::cuda {
namespace {

template <typename T>
DeviceArray<T> OnDevice(std::span<const T> values) {
  DeviceArray<T> array = *DeviceArray<T>::Make(values.size());
  EXPECT_EQ(cudaMemcpy(array.data(), values.data(), values.size_bytes(), cudaMemcpyHostToDevice),
            cudaSuccess);
  return array;
}

enum class Rows { kSampled, kPrompt };

// The part of the concept Kernels that Retention needs. All rows of a step have the same class.
template <Rows kRows>
class RetentionKernels {
 public:
  using Buffer = DeviceArray<float>;
  using States = CudaStates;
  struct PositionTables {
    std::vector<double> theta;
    std::vector<double> decays;
    Buffer cosines;
    Buffer sines;
    Buffer decay_sums;
  };

  absl::StatusOr<Buffer> Upload(std::span<const float> values) { return OnDevice(values); }
  absl::StatusOr<Buffer> Allocate(int64_t size) { return Buffer::Make(size); }
  absl::StatusOr<States> AllocateStates(const RetentionShape& shape, std::span<const float> decay) {
    copy_bytes_ = States::CopyBytesAtLeast(shape);
    auto pinned = PinnedBytes::Make(copy_bytes_);
    EXPECT_TRUE(pinned.ok()) << pinned.status();
    pinned_ = *std::move(pinned);
    return States::Make(shape, decay, /*max_rows=*/400);
  }
  absl::StatusOr<PositionTables> AllocatePositionTables(int64_t, std::span<const double> theta,
                                                        std::span<const float> decays) {
    return PositionTables{{theta.begin(), theta.end()}, {decays.begin(), decays.end()}, {}, {}, {}};
  }

  void FillPositionTables(std::span<const int32_t> positions, PositionTables& tables) {
    std::vector<float> cosines, sines, decay_sums;
    for (int32_t position : positions) {
      for (double theta : tables.theta) {
        cosines.push_back(static_cast<float>(std::cos(position * theta)));
        sines.push_back(static_cast<float>(std::sin(position * theta)));
      }
      for (double decay : tables.decays) {
        decay_sums.push_back(static_cast<float>((1 - std::pow(decay, position + 1)) / (1 - decay)));
      }
    }
    tables.cosines = OnDevice<float>(cosines);
    tables.sines = OnDevice<float>(sines);
    tables.decay_sums = OnDevice<float>(decay_sums);
  }

  std::span<const RetentionSegment> PlanRetention(std::span<const RetentionSegment> segments) {
    return segments;
  }
  void Retention(int32_t layer, std::span<const RetentionSegment> segments,
                 MatrixView<const float> projections, const PositionTables& tables, Norm norm,
                 States& states, MatrixView<float> out) {
    const int64_t pairs = static_cast<int64_t>(tables.theta.size());
    const int64_t heads = static_cast<int64_t>(tables.decays.size());
    HostPlan plan;
    cuda::PlanRetention(segments, kRows == Rows::kSampled ? projections.rows : 0, &plan);
    const auto pieces = OnDevice<RetentionPiece>(plan.pieces);
    const auto starts = OnDevice<int32_t>(plan.starts);
    const auto readers = OnDevice<int32_t>(plan.readers);
    const RetentionInputs inputs{
        layer,
        projections,
        MatrixView<const float>(tables.cosines.data(), projections.rows, pairs),
        MatrixView<const float>(tables.sines.data(), projections.rows, pairs),
        MatrixView<const float>(tables.decay_sums.data(), projections.rows, heads),
        norm};
    status_.Update(
        CudaStatus(Retain({pieces.data(), starts.data(), readers.data(), plan.sampled, plan.prompt},
                          inputs, states.view(), out, stream_),
                   "retention"));
    status_.Update(Finish());  // the plan is freed here
  }

  int64_t BaseBytes(const RetentionShape& shape) const { return States::BaseBytes(shape); }
  int64_t TailTokenBytes(const RetentionShape& shape) const {
    return States::TailTokenBytes(shape);
  }
  void ReadBase(const States& states, int32_t base, std::span<std::byte> bytes) {
    status_.Update(states.ReadBase(base, bytes, Lane()));
  }
  void WriteBase(std::span<const std::byte> bytes, int32_t base, States& states) {
    status_.Update(states.WriteBase(bytes, base, Lane()));
  }
  void ReadTail(const States& states, int32_t slot, int32_t tokens, std::span<std::byte> bytes) {
    status_.Update(states.ReadTail(slot, tokens, bytes, Lane()));
  }
  void WriteTail(std::span<const std::byte> bytes, int32_t tokens, int32_t slot, States& states) {
    status_.Update(states.WriteTail(bytes, tokens, slot, Lane()));
  }
  void CopyTail(int32_t from, int32_t to, int32_t tokens, States& states) {
    status_.Update(states.CopyTail(from, to, tokens, stream_));
  }
  absl::Status Finish() {
    status_.Update(CudaStatus(cudaStreamSynchronize(stream_), "finishing"));
    return status_;
  }

 private:
  // The smallest size, so that a transfer needs many copies.
  CopyLane Lane() const { return {stream_, pinned_.data(), copy_bytes_}; }

  cudaStream_t stream_ = nullptr;
  PinnedBytes pinned_;
  int64_t copy_bytes_ = 0;
  absl::Status status_;
};

template <Rows kRows>
std::vector<float> NumbersOnHost(const RetentionKernels<kRows>&, const float* data, int64_t size) {
  std::vector<float> numbers(size);
  EXPECT_EQ(cudaMemcpy(numbers.data(), data, size * sizeof(float), cudaMemcpyDeviceToHost),
            cudaSuccess);
  return numbers;
}

// Many decode rows at once, so that a block computes several strips of columns.
TEST(CudaRetention, DecodeRowsOfManySequencesAreAlone) {
  const RetentionShape shape{
      .layers = 1, .heads = 16, .kv_heads = 8, .key_dim = 12, .value_dim = 72, .slots = 48};
  using World = RetentionWorld<RetentionKernels<Rows::kSampled>>;
  const auto make_world = [&] {
    return World(std::make_unique<RetentionKernels<Rows::kSampled>>(), shape);
  };
  World alone = make_world();
  alone.Step({{0, /*text=*/1, 63}});
  const World::Snapshot before = alone.Read(0);
  std::vector<std::vector<float>> expected;
  for (int step = 0; step < 3; ++step) expected.push_back(alone.Step({{0, 1, 1}}));
  for (int32_t slots : {24, 48}) {  // blocks of 2 strips, of 4
    World many = make_world();
    std::vector<World::Part> parts;
    for (int32_t slot = 0; slot < slots; ++slot) {
      many.Write(before, slot);
      parts.push_back({slot, /*text=*/1, 1});
    }
    for (int step = 0; step < 3; ++step) {
      const std::vector<float> outputs = many.Step(parts);
      for (int32_t slot : {0, slots - 1}) {
        const auto first = outputs.begin() + slot * shape.OutputColumns();
        ExpectSameBits({first, first + shape.OutputColumns()}, expected[step]);
      }
    }
  }
}

// More samples of one prompt than one block computes, with a key_dim that needs several batches of
// loads.
TEST(CudaRetention, SamplesOfOnePromptAreEachAlone) {
  constexpr int32_t kSamples = 11;
  const RetentionShape shape{
      .layers = 1, .heads = 2, .kv_heads = 1, .key_dim = 300, .value_dim = 72, .slots = kSamples};
  using World = RetentionWorld<RetentionKernels<Rows::kSampled>>;
  World together(std::make_unique<RetentionKernels<Rows::kSampled>>(), shape);
  together.Step({{0, /*text=*/1, 70}});
  const World::Snapshot prompt = together.Read(0);
  std::vector<World::Part> parts;
  for (int32_t slot = 0; slot < kSamples; ++slot) {
    if (slot > 0) together.Fork(0, slot);
    parts.push_back({slot, /*text=*/static_cast<uint32_t>(slot), 1});
  }
  std::vector<std::vector<float>> outputs;
  for (int step = 0; step < 2; ++step) outputs.push_back(together.Step(parts));
  World alone(std::make_unique<RetentionKernels<Rows::kSampled>>(), shape);
  for (int32_t slot = 0; slot < kSamples; ++slot) {
    SCOPED_TRACE(slot);
    alone.Write(prompt, 0);
    for (const std::vector<float>& output : outputs) {
      const auto first = output.begin() + slot * shape.OutputColumns();
      ExpectSameBits({first, first + shape.OutputColumns()},
                     alone.Step({{0, /*text=*/static_cast<uint32_t>(slot), 1}}));
    }
  }
}

// Each class of rows can continue states of the other, because k, v and the fold are the same.
class CudaRetentionOfBases : public testing::TestWithParam<ElementType> {};

TEST_P(CudaRetentionOfBases, BothClassesOfRowsLeaveTheSameState) {
  for (RetentionShape shape : Shapes()) {
    SCOPED_TRACE(Describe(shape));
    shape.base_type = GetParam();
    RetentionWorld<RetentionKernels<Rows::kSampled>> sampled(
        std::make_unique<RetentionKernels<Rows::kSampled>>(), shape);
    RetentionWorld<RetentionKernels<Rows::kPrompt>> prompt(
        std::make_unique<RetentionKernels<Rows::kPrompt>>(), shape);
    sampled.Step({{0, /*text=*/1, 200}});
    prompt.Step({{0, /*text=*/1, 130}});
    prompt.Step({{0, /*text=*/1, 70}});
    EXPECT_EQ(sampled.Read(0).base, prompt.Read(0).base);
    EXPECT_EQ(sampled.Read(0).tail, prompt.Read(0).tail);
  }
}

INSTANTIATE_TEST_SUITE_P(Types, CudaRetentionOfBases,
                         testing::Values(ElementType::kFloat32, ElementType::kBFloat16,
                                         ElementType::kFloat16));

template <Rows kRows, ElementType kBase>
struct CudaBackend {
  using Type = RetentionKernels<kRows>;
  static constexpr ElementType kBaseType = kBase;
  static bool IsSupported() { return true; }
  static std::unique_ptr<Type> Make(int32_t /*threads*/) { return std::make_unique<Type>(); }
  // A rotated k that is nearly halfway between two bf16 numbers may round otherwise than the
  // textbook's. For prompt rows, q and the inner products are bf16 as well.
  static RetentionError RetentionErrorBound() {
    const RetentionError rounding = BaseRoundingError(kBase);
    return kRows == Rows::kSampled
               ? RetentionError{2e-3 + rounding.worst, 1e-4 + rounding.mean}
               : RetentionError{1.5e-1 + rounding.worst, 1.2e-2 + rounding.mean};
  }
  static float RoundToTail(float x) { return FromBFloat16(ToBFloat16(x)); }
  static std::string Name() {
    return std::string(kRows == Rows::kSampled ? "cuda_sampled" : "cuda_given") +
           (kBase == ElementType::kFloat32   ? ""
            : kBase == ElementType::kFloat16 ? "_fp16_bases"
                                             : "_bf16_bases");
  }
};

// Heads of all sizes that the kernels of prompt rows are compiled for, and one larger size.
template <typename Backend>
class CudaRetentionOfWideHeads : public testing::Test {};

// Both classes fold alike for every type of bases: see BothClassesOfRowsLeaveTheSameState.
using CudaBackends = testing::Types<CudaBackend<Rows::kSampled, ElementType::kFloat32>,
                                    CudaBackend<Rows::kPrompt, ElementType::kFloat32>,
                                    CudaBackend<Rows::kSampled, ElementType::kBFloat16>,
                                    CudaBackend<Rows::kPrompt, ElementType::kFloat16>>;
TYPED_TEST_SUITE(CudaRetentionOfWideHeads, CudaBackends, BackendNames);

TYPED_TEST(CudaRetentionOfWideHeads, IsTheTextbooksFunctionAndCutAnywhereWhole) {
  for (int32_t key_dim : {64, 96, 128, 256, 260}) {
    const RetentionShape shape{.layers = 1,
                               .heads = 2,
                               .kv_heads = 1,
                               .key_dim = key_dim,
                               .value_dim = 72,
                               .slots = 2,
                               .base_type = TypeParam::kBaseType};
    SCOPED_TRACE(Describe(shape));
    RetentionWorld<typename TypeParam::Type> whole(TypeParam::Make(1), shape);
    const std::vector<float> outputs = whole.Step({{0, /*text=*/1, kTokens}});
    ExpectTextbook<TypeParam>(shape, WorldOptions(), outputs);
    RetentionWorld<typename TypeParam::Type> cut(TypeParam::Make(1), shape);
    std::vector<float> pieces;
    for (int32_t tokens : {40, 1, 23, 1, 20, 65}) {
      const std::vector<float> piece = cut.Step({{0, /*text=*/1, tokens}});
      pieces.insert(pieces.end(), piece.begin(), piece.end());
    }
    ExpectSameBits(pieces, outputs);
  }
}

INSTANTIATE_TYPED_TEST_SUITE_P(Cuda, Retention, CudaBackends, BackendNames);

}  // namespace
}  // namespace retnet::cuda
