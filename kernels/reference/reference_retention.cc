#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "kernels/element.h"
#include "kernels/reference/reference_kernels.h"

namespace retnet {
namespace {

using States = ReferenceKernels::States;
using PositionTables = ReferenceKernels::PositionTables;

// R_n x for the row's position n: the pairs are (x_i, x_{i + size/2}).
std::vector<double> Rotated(const float* x, int32_t size, int64_t row,
                            const PositionTables& tables) {
  const int32_t pairs = size / 2;
  std::vector<double> y(size);
  for (int32_t i = 0; i < pairs; ++i) {
    const double cosine = tables.cosines[row * pairs + i];
    const double sine = tables.sines[row * pairs + i];
    y[i] = x[i] * cosine - x[i + pairs] * sine;
    y[i + pairs] = x[i] * sine + x[i + pairs] * cosine;
  }
  return y;
}

float Rounded(double value, ElementType type) {
  std::byte element[sizeof(float)];
  SetElement(static_cast<float>(value), type, 0, element);
  return ElementAt({type, element, 1, 1}, 0);
}

// base' = γ^C base + Σ_j γ^(C−1−j) k_jᵀ v_j, in place where target and source are one.
void Fold(const States& states, int32_t layer, int32_t head, const RetentionPiece& piece) {
  const RetentionShape& shape = states.shape;
  const int32_t kv_head = head / (shape.heads / shape.kv_heads);
  const double decay = states.decay[head];
  std::vector<double> weights(kChunk);
  for (int32_t j = 0; j < kChunk; ++j) weights[j] = std::pow(decay, kChunk - 1 - j);
  for (int32_t row = 0; row < shape.key_dim; ++row) {
    for (int32_t column = 0; column < shape.value_dim; ++column) {
      const int64_t element = int64_t{row} * shape.value_dim + column;
      double sum = 0;
      if (piece.fold_source != kZeroBase) {
        sum = std::pow(decay, kChunk) * states.Base(piece.fold_source, layer, head)[element];
      }
      for (int32_t j = 0; j < kChunk; ++j) {
        sum += weights[j] * states.TailKey(piece.slot, j, layer, kv_head)[row] *
               states.TailValue(piece.slot, j, layer, kv_head)[column];
      }
      states.Base(piece.base, layer, head)[element] = Rounded(sum, shape.base_type);
    }
  }
}

// Rotates the piece's k and appends k and v to the tail.
void Append(const States& states, int32_t layer, const RetentionPiece& piece,
            MatrixView<const float> projections, const PositionTables& tables) {
  const RetentionShape& shape = states.shape;
  for (int32_t i = 0; i < piece.rows; ++i) {
    const int64_t row = piece.first_row + i;
    const float* k = projections.row(row) + int64_t{shape.heads} * shape.key_dim;
    const float* v = k + int64_t{shape.kv_heads} * shape.key_dim;
    for (int32_t kv_head = 0; kv_head < shape.kv_heads; ++kv_head) {
      const std::vector<double> rotated =
          Rotated(k + int64_t{kv_head} * shape.key_dim, shape.key_dim, row, tables);
      std::transform(rotated.begin(), rotated.end(),
                     states.TailKey(piece.slot, piece.tail + i, layer, kv_head),
                     [](double value) { return static_cast<float>(value); });
      std::copy_n(v + int64_t{kv_head} * shape.value_dim, shape.value_dim,
                  states.TailValue(piece.slot, piece.tail + i, layer, kv_head));
    }
  }
}

// o = γ^(t+1) q·base + Σ_{j≤t} γ^(t−j) (q·k_j) v_j of a row with t tokens before it in the tail.
std::vector<double> Retain(const States& states, int32_t layer, int32_t head,
                           const RetentionPiece& piece, int32_t t, const std::vector<double>& q) {
  const RetentionShape& shape = states.shape;
  const int32_t kv_head = head / (shape.heads / shape.kv_heads);
  const double decay = states.decay[head];
  std::vector<double> o(shape.value_dim, 0.0);
  if (piece.base != kZeroBase) {
    const float* base = states.Base(piece.base, layer, head);
    for (int32_t row = 0; row < shape.key_dim; ++row) {
      const double weight = std::pow(decay, t + 1) * q[row];
      for (int32_t column = 0; column < shape.value_dim; ++column) {
        o[column] += weight * base[int64_t{row} * shape.value_dim + column];
      }
    }
  }
  for (int32_t j = 0; j <= t; ++j) {
    const float* k = states.TailKey(piece.slot, j, layer, kv_head);
    const float* v = states.TailValue(piece.slot, j, layer, kv_head);
    double weight = 0;
    for (int32_t i = 0; i < shape.key_dim; ++i) weight += q[i] * k[i];
    weight *= std::pow(decay, t - j);
    for (int32_t column = 0; column < shape.value_dim; ++column) o[column] += weight * v[column];
  }
  return o;
}

// RMSNorm(o) over value_dim, times silu(gate) where there is a gate.
void NormAndGate(const std::vector<double>& o, Norm norm, const float* gate, float* out) {
  double sum_of_squares = 0;
  for (double value : o) sum_of_squares += value * value;
  const double scale = 1 / std::sqrt(sum_of_squares / o.size() + norm.epsilon);
  for (size_t i = 0; i < o.size(); ++i) {
    double value = o[i] * scale * (norm.weight != nullptr ? norm.weight[i] : 1.0);
    if (gate != nullptr) value *= gate[i] / (1 + std::exp(-double{gate[i]}));
    out[i] = static_cast<float>(value);
  }
}

}  // namespace

int64_t States::BaseSize() const {
  return int64_t{shape.layers} * shape.heads * shape.key_dim * shape.value_dim;
}

int64_t States::TailTokenSize() const {
  return int64_t{shape.layers} * shape.kv_heads * (shape.key_dim + shape.value_dim);
}

float* States::Base(int32_t base, int32_t layer, int32_t head) const {
  return bases.data() + base * BaseSize() +
         (int64_t{layer} * shape.heads + head) * shape.key_dim * shape.value_dim;
}

float* States::TailKey(int32_t slot, int32_t token, int32_t layer, int32_t kv_head) const {
  return tails.data() + (int64_t{slot} * kChunk + token) * TailTokenSize() +
         (int64_t{layer} * shape.kv_heads + kv_head) * shape.key_dim;
}

float* States::TailValue(int32_t slot, int32_t token, int32_t layer, int32_t kv_head) const {
  return tails.data() + (int64_t{slot} * kChunk + token) * TailTokenSize() +
         int64_t{shape.layers} * shape.kv_heads * shape.key_dim +
         (int64_t{layer} * shape.kv_heads + kv_head) * shape.value_dim;
}

absl::StatusOr<States> ReferenceKernels::AllocateStates(const RetentionShape& shape,
                                                        std::span<const float> decay) const {
  States states{shape, {decay.begin(), decay.end()}, {}, {}};
  states.bases = Buffer(shape.slots * states.BaseSize());
  states.tails = Buffer(int64_t{shape.slots} * kChunk * states.TailTokenSize());
  return states;
}

void ReferenceKernels::Retention(int32_t layer, std::span<const RetentionSegment> segments,
                                 MatrixView<const float> projections, const PositionTables& tables,
                                 Norm norm, States& states, MatrixView<float> out) const {
  const RetentionShape& shape = states.shape;
  const double query_scale = 1 / std::sqrt(shape.key_dim);
  for (RetentionSegment segment : segments) {
    for (const RetentionPiece& piece : segment) {
      for (int32_t head = 0; piece.folds && head < shape.heads; ++head) {
        Fold(states, layer, head, piece);
      }
      Append(states, layer, piece, projections, tables);
      for (int32_t i = 0; i < piece.rows; ++i) {
        const int64_t row = piece.first_row + i;
        const float* gates =
            projections.row(row) + shape.ProjectionColumns() - shape.OutputColumns();
        for (int32_t head = 0; head < shape.heads; ++head) {
          std::vector<double> q = Rotated(projections.row(row) + int64_t{head} * shape.key_dim,
                                          shape.key_dim, row, tables);
          for (double& value : q) value *= query_scale;
          const int64_t first_column = int64_t{head} * shape.value_dim;
          Norm head_norm = norm;
          if (!tables.decays.empty()) {
            head_norm.epsilon *= tables.decay_sums[row * shape.heads + head];
          }
          NormAndGate(Retain(states, layer, head, piece, piece.tail + i, q), head_norm,
                      shape.gated ? gates + first_column : nullptr, out.row(row) + first_column);
        }
      }
    }
  }
}

int64_t ReferenceKernels::BaseBytes(const RetentionShape& shape) const {
  return States{shape, {}, {}, {}}.BaseSize() * static_cast<int64_t>(SizeOf(shape.base_type));
}

int64_t ReferenceKernels::TailTokenBytes(const RetentionShape& shape) const {
  return States{shape, {}, {}, {}}.TailTokenSize() * int64_t{sizeof(float)};
}

void ReferenceKernels::ReadBase(const States& states, int32_t base,
                                std::span<std::byte> bytes) const {
  for (int64_t i = 0; i < states.BaseSize(); ++i) {
    SetElement(states.Base(base, 0, 0)[i], states.shape.base_type, i, bytes.data());
  }
}

void ReferenceKernels::WriteBase(std::span<const std::byte> bytes, int32_t base,
                                 States& states) const {
  const HostTensor elements{states.shape.base_type, bytes.data(), 1, states.BaseSize()};
  for (int64_t i = 0; i < states.BaseSize(); ++i) {
    states.Base(base, 0, 0)[i] = ElementAt(elements, i);
  }
}

void ReferenceKernels::ReadTail(const States& states, int32_t slot, int32_t tokens,
                                std::span<std::byte> bytes) const {
  std::memcpy(bytes.data(), states.TailKey(slot, 0, 0, 0), tokens * TailTokenBytes(states.shape));
}

void ReferenceKernels::WriteTail(std::span<const std::byte> bytes, int32_t tokens, int32_t slot,
                                 States& states) const {
  std::memcpy(states.TailKey(slot, 0, 0, 0), bytes.data(), tokens * TailTokenBytes(states.shape));
}

void ReferenceKernels::CopyTail(int32_t from, int32_t to, int32_t tokens, States& states) const {
  std::copy_n(states.TailKey(from, 0, 0, 0), tokens * states.TailTokenSize(),
              states.TailKey(to, 0, 0, 0));
}

}  // namespace retnet
