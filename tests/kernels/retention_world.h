// Calls Retention of a backend like a model does: with slots, shared and free bases, and pieces cut
// at chunk boundaries. For tests.
#ifndef RETNET_TESTS_KERNELS_RETENTION_WORLD_H_
#define RETNET_TESTS_KERNELS_RETENTION_WORLD_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/kernels.h"
#include "kernels/tensor.h"
#include "tests/kernels/numbers_on_host.h"

namespace retnet {

// Normally distributed projections of the tokens of a text. A text is identified by its seed.
inline std::vector<float> Projections(const RetentionShape& shape, uint32_t text, int32_t tokens) {
  std::mt19937 random(text);
  std::normal_distribution<float> normal;
  std::vector<float> values(tokens * shape.ProjectionColumns());
  for (float& value : values) value = normal(random);
  return values;
}

inline std::vector<float> Decays(const RetentionShape& shape) {
  std::vector<float> decays(shape.heads);
  for (int32_t head = 0; head < shape.heads; ++head) decays[head] = 1 - std::exp2(-5.0f - head);
  return decays;
}

inline constexpr float kNormEpsilon = 1e-3f;

inline std::vector<float> NormWeight(const RetentionShape& shape) {
  std::vector<float> weight(shape.value_dim);
  std::iota(weight.begin(), weight.end(), 1.0f);
  return weight;
}

inline std::vector<double> Thetas(const RetentionShape& shape) {
  std::vector<double> thetas(shape.key_dim / 2);
  for (size_t i = 0; i < thetas.size(); ++i) {
    thetas[i] = std::pow(10000.0, -2.0 * static_cast<double>(i) / shape.key_dim);
  }
  return thetas;
}

struct WorldOptions {
  bool folds_into_free_bases = false;  // else in place where no other slot reads the base
  bool starts_from_nan = true;         // memory that nobody has written is NaN
  int32_t first_position = 0;          // a multiple of kChunk, where slots begin with a zero base
  bool normalized = true;
};

template <typename K>
class RetentionWorld {
 public:
  static constexpr int32_t kMaxTokens = 400;  // of one text and of one step

  struct Part {
    int32_t slot;
    uint32_t text;
    int32_t tokens;
  };
  struct Snapshot {
    int32_t position;
    int32_t base_position;
    std::vector<std::byte> base;
    std::vector<std::byte> tail;
  };

  RetentionWorld(std::unique_ptr<K> kernels, const RetentionShape& shape, WorldOptions options = {})
      : kernels_(std::move(kernels)), shape_(shape), options_(options), slots_(shape.slots) {
    states_ = *kernels_->AllocateStates(shape, Decays(shape));
    position_tables_ = *kernels_->AllocatePositionTables(
        kMaxTokens, Thetas(shape), options.normalized ? Decays(shape) : std::vector<float>());
    norm_weight_ = *kernels_->Upload(NormWeight(shape));
    out_ = *kernels_->Allocate(kMaxTokens * shape.OutputColumns());
    for (Slot& slot : slots_) slot.position = slot.base_position = options.first_position;
    for (int32_t base = shape.slots - 1; base >= 0; --base) free_bases_.push_back(base);
    if (options.starts_from_nan) FillWithNaN();
  }

  int32_t position(int32_t slot) const { return slots_[slot].position; }

  // Runs the next tokens of some slots in one step. Returns the outputs of all rows and layers, in
  // the order of the parts: [rows, layers, OutputColumns()].
  std::vector<float> Step(const std::vector<Part>& parts) {
    std::vector<float> projections;
    std::vector<int32_t> positions;
    std::vector<std::vector<RetentionPiece>> pieces;
    for (const Part& part : parts) {
      pieces.push_back(Plan(part, static_cast<int32_t>(positions.size())));
      std::vector<float>& text = texts_[part.text];
      if (text.empty()) text = Projections(shape_, part.text, kMaxTokens);
      const int32_t first = slots_[part.slot].position - part.tokens;
      const auto from = text.begin() + (first - options_.first_position) * columns();
      projections.insert(projections.end(), from, from + part.tokens * columns());
      for (int32_t i = 0; i < part.tokens; ++i) positions.push_back(first + i);
    }
    std::vector<RetentionSegment> segments(pieces.begin(), pieces.end());
    std::vector<float> outputs = Run(projections, positions, segments);
    free_bases_.insert(free_bases_.end(), released_.begin(), released_.end());
    released_.clear();
    return outputs;
  }

  void Truncate(int32_t slot, int32_t position) {
    ASSERT_GE(position, slots_[slot].base_position);
    slots_[slot].position = position;
  }

  void Fork(int32_t from, int32_t to) {
    slots_[to] = slots_[from];
    kernels_->CopyTail(from, to, tail(from), states_);
  }

  Snapshot Read(int32_t slot) const {
    Snapshot snapshot{slots_[slot].position, slots_[slot].base_position, {}, {}};
    if (slots_[slot].base != kZeroBase) {
      snapshot.base.resize(kernels_->BaseBytes(shape_));
      kernels_->ReadBase(states_, slots_[slot].base, snapshot.base);
    }
    snapshot.tail.resize(tail(slot) * kernels_->TailTokenBytes(shape_));
    kernels_->ReadTail(states_, slot, tail(slot), snapshot.tail);
    EXPECT_TRUE(kernels_->Finish().ok());
    return snapshot;
  }

  void Write(const Snapshot& snapshot, int32_t slot) {
    slots_[slot] = {snapshot.position, snapshot.base_position, kZeroBase};
    if (!snapshot.base.empty()) {
      slots_[slot].base = TakeBase();
      kernels_->WriteBase(snapshot.base, slots_[slot].base, states_);
    }
    kernels_->WriteTail(snapshot.tail, tail(slot), slot, states_);
    EXPECT_TRUE(kernels_->Finish().ok());
  }

 private:
  struct Slot {
    int32_t position = 0;
    int32_t base_position = 0;
    int32_t base = kZeroBase;
  };

  int64_t columns() const { return shape_.ProjectionColumns(); }
  int32_t tail(int32_t slot) const { return slots_[slot].position - slots_[slot].base_position; }

  int32_t TakeBase() {
    const int32_t base = free_bases_.back();
    free_bases_.pop_back();
    return base;
  }

  void FillWithNaN() {
    constexpr std::byte kOfNaN{0xFF};  // of every type
    const std::vector<std::byte> base(kernels_->BaseBytes(shape_), kOfNaN);
    const std::vector<std::byte> tail(kChunk * kernels_->TailTokenBytes(shape_), kOfNaN);
    for (int32_t i = 0; i < shape_.slots; ++i) {
      kernels_->WriteBase(base, i, states_);
      kernels_->WriteTail(tail, kChunk, i, states_);
    }
    EXPECT_TRUE(kernels_->Finish().ok());
  }

  // Advances the slot by the tokens of the part. Returns the pieces.
  std::vector<RetentionPiece> Plan(const Part& part, int32_t first_row) {
    std::vector<RetentionPiece> pieces;
    Slot& slot = slots_[part.slot];
    const int32_t end = slot.position + part.tokens;
    while (slot.position < end) {
      RetentionPiece piece{.slot = part.slot, .first_row = first_row, .position = slot.position};
      if (slot.position - slot.base_position == kChunk) Fold(&slot, &piece);
      piece.tail = slot.position - slot.base_position;
      piece.base = slot.base;
      piece.rows = std::min(kChunk - piece.tail, end - slot.position);
      first_row += piece.rows;
      slot.position += piece.rows;
      pieces.push_back(piece);
    }
    return pieces;
  }

  void Fold(Slot* slot, RetentionPiece* piece) {
    piece->folds = true;
    piece->fold_source = slot->base;
    const auto readers = std::count_if(slots_.begin(), slots_.end(), [&](const Slot& other) {
      return other.base == piece->fold_source;
    });
    const bool in_place =
        slot->base != kZeroBase && readers == 1 && !options_.folds_into_free_bases;
    if (!in_place) slot->base = TakeBase();
    if (!in_place && piece->fold_source != kZeroBase && readers == 1) {
      released_.push_back(piece->fold_source);  // others of the step must not write it
    }
    slot->base_position += kChunk;
  }

  std::vector<float> Run(const std::vector<float>& projections,
                         const std::vector<int32_t>& positions,
                         const std::vector<RetentionSegment>& segments) {
    const int64_t rows = static_cast<int64_t>(positions.size());
    const int64_t out_columns = shape_.OutputColumns();
    const auto on_device = *kernels_->Upload(projections);
    kernels_->FillPositionTables(positions, position_tables_);
    std::vector<float> outputs(rows * shape_.layers * out_columns);
    for (int32_t layer = 0; layer < shape_.layers; ++layer) {
      kernels_->Retention(layer, kernels_->PlanRetention(segments),
                          MatrixView<const float>(on_device.data(), rows, columns()),
                          position_tables_, {norm_weight_.data(), kNormEpsilon}, states_,
                          MatrixView<float>(out_.data(), rows, out_columns));
      EXPECT_TRUE(kernels_->Finish().ok());
      const std::vector<float> on_host = NumbersOnHost(*kernels_, out_.data(), rows * out_columns);
      for (int64_t row = 0; row < rows; ++row) {
        std::copy_n(&on_host[row * out_columns], out_columns,
                    &outputs[(row * shape_.layers + layer) * out_columns]);
      }
    }
    return outputs;
  }

  std::unique_ptr<K> kernels_;
  RetentionShape shape_;
  WorldOptions options_;
  std::vector<Slot> slots_;
  std::vector<int32_t> free_bases_;
  std::vector<int32_t> released_;  // free from the next step on
  std::map<uint32_t, std::vector<float>> texts_;
  typename K::States states_;
  typename K::PositionTables position_tables_;
  typename K::Buffer norm_weight_;
  typename K::Buffer out_;
};

}  // namespace retnet

#endif  // RETNET_TESTS_KERNELS_RETENTION_WORLD_H_
