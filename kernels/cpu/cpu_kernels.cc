#include "kernels/cpu/cpu_kernels.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/ceil_divide.h"
#include "kernels/cpu/available_cores.h"
#include "kernels/cpu/retention.h"
#include "kernels/status_macros.h"

namespace retnet::cpu {

static_assert(Kernels<CpuKernels>);

namespace {

// Parts per thread. With several, a delayed thread delays the others by a fraction of its work
// only.
constexpr int64_t kPartsOfThread = 8;
// The rows and strips of a part are multiples of these, so that its register tiles are full.
constexpr int64_t kPartRows = 48;
constexpr int64_t kPartStrips = 4;
// With fewer multiply-adds, or elements of rows, one thread is done before another one has started.
constexpr int64_t kParallelMatMuls = int64_t{1} << 16;
constexpr int64_t kParallelElements = int64_t{1} << 14;

}  // namespace

CpuKernels::CpuKernels(const CpuOptions& options)
    : options_(options),
      matmul_(MatMulOperatorsFor(options.instruction_set)),
      row_operators_(RowOperatorsFor(options.instruction_set)),
      pool_(options.threads > 0 ? options.threads : AvailableCores()),
      sampler_(options.instruction_set, pool_.threads()),
      retention_groups_(options.max_rows) {}

absl::StatusOr<CpuKernels::Weight> CpuKernels::Pack(std::span<const HostTensor> tensors) {
  ASSIGN_OR_RETURN(Weight weight, Weight::Pack(tensors, pool_));
  // Sized for fp32 activations, which take more words than pairs of bf16.
  const int64_t words = PackedActivations::Words(options_.max_rows, weight.inputs());
  if (words > activations_.size()) {
    ASSIGN_OR_RETURN(activations_, AlignedArray<uint32_t>::Make(words));
  }
  if (gated_.size() == 0) {
    ASSIGN_OR_RETURN(gated_,
                     Allocate(pool_.threads() * int64_t{options_.max_rows} * kGatedColumns));
  }
  // Any weight may be the output projection.
  RETURN_IF_ERROR(sampler_.Reserve(weight.outputs()));
  return weight;
}

int64_t CpuKernels::WorkspaceBytes(int64_t inputs, int64_t outputs) const {
  const int64_t gated = int64_t{options_.max_rows} * kGatedColumns;
  const int64_t result = 2 * outputs;  // logits and tokens, without their padding
  return int64_t{sizeof(float)} *
         (PackedActivations::Words(options_.max_rows, inputs) + pool_.threads() * (gated + result));
}

absl::StatusOr<CpuKernels::Buffer> CpuKernels::Upload(std::span<const float> values) {
  ASSIGN_OR_RETURN(Buffer buffer, Allocate(static_cast<int64_t>(values.size())));
  std::copy(values.begin(), values.end(), buffer.data());
  return buffer;
}

absl::StatusOr<CpuKernels::Buffer> CpuKernels::Allocate(int64_t size) { return Buffer::Make(size); }

absl::StatusOr<CpuKernels::States> CpuKernels::AllocateStates(const RetentionShape& shape,
                                                              std::span<const float> decay) {
  if (shape.base_type != ElementType::kFloat32) {
    return absl::InvalidArgumentError("the CPU has bases of fp32 only");
  }
  return States::Make(shape, decay, pool_.threads());
}

absl::StatusOr<CpuKernels::PositionTables> CpuKernels::AllocatePositionTables(
    int64_t max_rows, std::span<const double> thetas, std::span<const float> decays) {
  const int64_t pairs = static_cast<int64_t>(thetas.size());
  PositionTables tables;
  tables.thetas.assign(thetas.begin(), thetas.end());
  tables.decays.assign(decays.begin(), decays.end());
  ASSIGN_OR_RETURN(tables.cosines, Allocate(max_rows * pairs));
  ASSIGN_OR_RETURN(tables.sines, Allocate(max_rows * pairs));
  const int64_t heads = static_cast<int64_t>(decays.size());
  ASSIGN_OR_RETURN(tables.decay_sums, Allocate(max_rows * heads));
  return tables;
}

template <typename F>
void CpuKernels::ForEachRow(int64_t rows, int64_t columns, const F& function) {
  const int64_t parts =
      rows * columns < kParallelElements ? 1 : std::min(rows, pool_.threads() * kPartsOfThread);
  pool_.Run(parts, [&](int64_t part, int32_t) {
    for (int64_t row = rows * part / parts; row < rows * (part + 1) / parts; ++row) function(row);
  });
}

template <typename F>
void CpuKernels::ForEachPart(int64_t rows, int64_t strips, int64_t inputs, const F& function) {
  const int64_t row_units = CeilDivide(rows, kPartRows);
  const int64_t strip_units = CeilDivide(strips, kPartStrips);
  int64_t strip_parts = 1;
  int64_t row_parts = 1;
  if (rows * inputs * strips * kStripColumns >= kParallelMatMuls) {
    const int64_t parts = pool_.threads() * kPartsOfThread;
    strip_parts = std::min(strip_units, parts);
    row_parts = std::min(row_units, CeilDivide(parts, strip_parts));
  }
  pool_.Run(strip_parts * row_parts, [&](int64_t part, int32_t thread) {
    const int64_t i = part % row_parts, j = part / row_parts;
    const int64_t row = row_units * i / row_parts * kPartRows;
    const int64_t last_row = std::min(rows, row_units * (i + 1) / row_parts * kPartRows);
    const int64_t strip = strip_units * j / strip_parts * kPartStrips;
    const int64_t last_strip = std::min(strips, strip_units * (j + 1) / strip_parts * kPartStrips);
    function(row, last_row - row, strip, last_strip - strip, thread);
  });
}

PackedActivations CpuKernels::Prepare(MatrixView<const float> x, const Norm* norm,
                                      const Weight& weight) {
  const bool pairs = weight.type() == ElementType::kBFloat16 && matmul_.bfloat16_pairs;
  const auto prepare =
      pairs ? row_operators_.prepare_bfloat16_pairs : row_operators_.prepare_float32;
  const PackedActivations activations(activations_.data(), x.rows,
                                      pairs ? CeilDivide(x.columns, 2) : x.columns);
  ForEachRow(x.rows, x.columns,
             [&](int64_t row) { prepare(x.row(row), x.columns, norm, activations, row); });
  return activations;
}

void CpuKernels::Multiply(const PackedActivations& x, const Weight& weight, bool add,
                          MatrixView<float> y) {
  const MatMul matmul = matmul_.For(weight.type());
  ForEachPart(y.rows, StripsOf(y.columns), weight.inputs(),
              [&](int64_t row, int64_t rows, int64_t strip, int64_t strips, int32_t) {
                const int64_t column = strip * kStripColumns;
                const int64_t columns = std::min(strips * kStripColumns, y.columns - column);
                matmul(x.From(row), weight, strip, strips, add,
                       y.Rows(row, rows).Columns(column, columns));
              });
}

void CpuKernels::Embed(std::span<const TokenId> tokens, const LastTokens& last_tokens,
                       const Weight& weight, float multiplier, MatrixView<float> x) {
  ForEachRow(x.rows, x.columns, [&](int64_t row) {
    weight.ReadRow(last_tokens.Resolve(tokens[row]), multiplier, x.row(row));
  });
}

void CpuKernels::Normalize(Norm norm, MatrixView<float> x) {
  ForEachRow(x.rows, x.columns, [&](int64_t row) {
    row_operators_.normalize(x.row(row), x.columns, norm, x.row(row));
  });
}

void CpuKernels::FillPositionTables(std::span<const int32_t> positions, PositionTables& tables) {
  const int64_t pairs = static_cast<int64_t>(tables.thetas.size());
  const int64_t heads = static_cast<int64_t>(tables.decays.size());
  tables.rows = static_cast<int64_t>(positions.size());
  // A sine costs as much as a few dozen elements of other operators.
  ForEachRow(tables.rows, 32 * (pairs + heads), [&](int64_t row) {
    for (int64_t i = 0; i < pairs; ++i) {
      const double angle = positions[row] * tables.thetas[i];
      tables.cosines.data()[row * pairs + i] = static_cast<float>(std::cos(angle));
      tables.sines.data()[row * pairs + i] = static_cast<float>(std::sin(angle));
    }
    for (int64_t h = 0; h < heads; ++h) {
      // expm1 keeps the digits of 1 − γ^(n+1) where γ^(n+1) is close to 1.
      const double gamma = tables.decays[h];
      tables.decay_sums.data()[row * heads + h] = static_cast<float>(
          -std::expm1((int64_t{positions[row]} + 1) * std::log(gamma)) / (1 - gamma));
    }
  });
}

void CpuKernels::NormMatMul(MatrixView<const float> x, Norm norm, const Weight& weight,
                            MatrixView<float> y) {
  Multiply(Prepare(x, &norm, weight), weight, /*add=*/false, y);
}

void CpuKernels::MatMulAdd(MatrixView<const float> y, const Weight& weight, MatrixView<float> x) {
  Multiply(Prepare(y, nullptr, weight), weight, /*add=*/true, x);
}

void CpuKernels::NormGatedMatMul(MatrixView<const float> x, Norm norm, const Weight& weight,
                                 Activation activation, MatrixView<float> y) {
  const PackedActivations z = Prepare(x, &norm, weight);
  const MatMul matmul = matmul_.For(weight.type());
  const auto multiply = [&](int64_t row, int64_t strip, MatrixView<float> out) {
    matmul(z.From(row), weight, strip, out.columns / kStripColumns, /*add=*/false, out);
  };
  const auto compute_part = [&](int64_t row, int64_t rows, int64_t first_strip, int64_t strips,
                                int32_t thread) {
    const MatrixView<float> scratch(
        gated_.data() + thread * int64_t{options_.max_rows} * kGatedColumns, rows, kGatedColumns);
    const int64_t last_strip = first_strip + strips;
    for (int64_t strip = first_strip; strip < last_strip; strip += kGatedStrips) {
      const int64_t column = strip * kStripColumns;
      const int64_t end = std::min(y.columns, (strip + kGatedStrips) * kStripColumns);
      const int64_t columns = std::min(end, last_strip * kStripColumns) - column;
      // In the product, the columns of up start at y.columns.
      const int64_t up_strip = (y.columns + column) / kStripColumns;
      const int64_t up_offset = (y.columns + column) % kStripColumns;
      const MatrixView<float> gate = scratch.Columns(0, StripsOf(columns) * kStripColumns);
      const MatrixView<float> up =
          scratch.Columns(gate.columns, StripsOf(up_offset + columns) * kStripColumns);
      multiply(row, strip, gate);
      multiply(row, up_strip, up);
      for (int64_t i = 0; i < rows; ++i) {
        row_operators_.activate(activation, gate.row(i), up.row(i) + up_offset, columns,
                                y.row(row + i) + column);
      }
    }
  };
  ForEachPart(y.rows, StripsOf(y.columns), 2 * weight.inputs(), compute_part);
}

void CpuKernels::Retention(int32_t layer, std::span<const RetentionSegment> segments,
                           MatrixView<const float> projections, const PositionTables& tables,
                           Norm norm, States& states, MatrixView<float> out) {
  const int64_t pairs = static_cast<int64_t>(tables.thetas.size());
  // Groups must be small enough that every thread gets one.
  const int64_t rows_of_thread = out.rows * states.shape().kv_heads / threads();
  retention_groups_.Make(segments, std::clamp<int64_t>(rows_of_thread, 1, kChunk));
  Retain(options_.instruction_set,
         {.layer = layer,
          .groups = retention_groups_,
          .projections = projections,
          .cosines = {tables.cosines.data(), tables.rows, pairs},
          .sines = {tables.sines.data(), tables.rows, pairs},
          .decay_sums = {tables.decay_sums.data(), tables.rows,
                         static_cast<int64_t>(tables.decays.size())},
          .norm = norm},
         states, out, pool_);
}

void CpuKernels::Gather(MatrixView<const float> x, std::span<const int32_t> indices,
                        MatrixView<float> y) {
  for (size_t i = 0; i < indices.size(); ++i) {
    std::copy_n(x.row(indices[i]), x.columns, y.row(static_cast<int64_t>(i)));
  }
}

void CpuKernels::Sample(MatrixView<const float> logits, std::span<const SampleRequest> requests,
                        std::span<const int32_t> keep_in, LastTokens& last_tokens,
                        std::span<SampleResult> results) {
  sampler_.Sample(logits, requests, results, pool_);
  last_tokens.Keep(keep_in, results);
}

void CpuKernels::ReadBase(const States& states, int32_t base, std::span<std::byte> bytes) {
  transfers_.Post([&states, base, bytes] { states.ReadBase(base, bytes); });
}

void CpuKernels::WriteBase(std::span<const std::byte> bytes, int32_t base, States& states) {
  transfers_.Post([&states, base, bytes] { states.WriteBase(bytes, base); });
}

void CpuKernels::ReadTail(const States& states, int32_t slot, int32_t tokens,
                          std::span<std::byte> bytes) {
  transfers_.Post([&states, slot, tokens, bytes] { states.ReadTail(slot, tokens, bytes); });
}

void CpuKernels::WriteTail(std::span<const std::byte> bytes, int32_t tokens, int32_t slot,
                           States& states) {
  transfers_.Post([&states, slot, tokens, bytes] { states.WriteTail(bytes, tokens, slot); });
}

void CpuKernels::AfterTransfers(std::function<void(const absl::Status&)> done) {
  transfers_.Post([done = std::move(done)] { done(absl::OkStatus()); });
}

absl::Status CpuKernels::Finish() {
  transfers_.Wait();
  return absl::OkStatus();
}

}  // namespace retnet::cpu
