#include "kernels/cpu/states.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

#include "absl/status/statusor.h"
#include "kernels/kernels.h"
#include "kernels/status_macros.h"

namespace retnet::cpu {
namespace {

// Copies row `row` of a matrix, [columns], to bytes.
void ReadRow(Panels<float> matrix, int64_t row, int64_t columns, std::byte* bytes) {
  for (int64_t first = 0; first < columns; first += kStripColumns) {
    std::memcpy(bytes + first * sizeof(float), matrix.row(row, first / kStripColumns),
                std::min(kStripColumns, columns - first) * sizeof(float));
  }
}

// Copies bytes to row `row` of a matrix, [columns], and zeroes the padding.
void WriteRow(const std::byte* bytes, int64_t row, int64_t columns, Panels<float> matrix) {
  for (int64_t first = 0; first < columns; first += kStripColumns) {
    float* strip = matrix.row(row, first / kStripColumns);
    const int64_t used = std::min(kStripColumns, columns - first);
    std::memcpy(strip, bytes + first * sizeof(float), used * sizeof(float));
    std::fill(strip + used, strip + kStripColumns, 0.0f);
  }
}

// Element i of the key of a token.
float* KeyOf(Strips<float> keys, int32_t token, int32_t i) {
  return keys.From(i, token / kStripColumns).data + token % kStripColumns;
}

// Calls copy(token, i) for all elements of the keys of a tail. The order is blocked, so that the
// cache lines of the tail and of the bytes stay cached until all of them is used.
template <typename Copy>
void ForKeys(int32_t tokens, int32_t key_dim, const Copy& copy) {
  constexpr int32_t kBlock = kCacheLine / sizeof(float);
  for (int32_t first = 0; first < key_dim; first += kBlock) {
    for (int32_t token = 0; token < tokens; ++token) {
      for (int32_t i = first; i < std::min(first + kBlock, key_dim); ++i) copy(token, i);
    }
  }
}

}  // namespace

absl::StatusOr<CpuStates> CpuStates::Make(const RetentionShape& shape, std::span<const float> decay,
                                          int32_t threads) {
  CpuStates states;
  states.shape_ = shape;
  for (float gamma : decay) {
    for (int32_t n = 0; n <= kChunk; ++n) {
      states.decays_.push_back(static_cast<float>(std::pow(double{gamma}, kChunk - n)));
    }
  }
  const int64_t layers = int64_t{shape.slots} * shape.layers;
  ASSIGN_OR_RETURN(states.bases_, AlignedArray<float>::Make(layers * shape.heads * shape.key_dim *
                                                            states.padded_value_dim()));
  ASSIGN_OR_RETURN(states.tail_keys_,
                   AlignedArray<float>::Make(layers * shape.kv_heads * shape.key_dim * kChunk));
  ASSIGN_OR_RETURN(states.tail_values_, AlignedArray<float>::Make(layers * shape.kv_heads * kChunk *
                                                                  states.padded_value_dim()));
  ASSIGN_OR_RETURN(states.scratch_, AlignedArray<float>::Make(threads * states.ScratchSize()));
  return states;
}

int64_t CpuStates::ScratchSize() const {
  return kChunk * (4 * shape_.key_dim + kChunk + OutputStride());
}

RetentionScratch CpuStates::Scratch(int32_t thread) const {
  float* next = scratch_.data() + thread * ScratchSize();
  const auto take = [&next](int64_t columns) {
    return std::exchange(next, next + kChunk * columns);
  };
  const int64_t key_dim = shape_.key_dim;
  return {take(key_dim),  take(key_dim), take(kChunk), take(OutputStride()),
          OutputStride(), take(key_dim), take(key_dim)};
}

int64_t CpuStates::BaseBytes(const RetentionShape& shape) {
  return int64_t{shape.layers} * shape.heads * shape.key_dim * shape.value_dim *
         int64_t{sizeof(float)};
}

int64_t CpuStates::TailTokenBytes(const RetentionShape& shape) {
  return int64_t{shape.layers} * shape.kv_heads * (shape.key_dim + shape.value_dim) *
         int64_t{sizeof(float)};
}

void CpuStates::ReadBase(int32_t base, std::span<std::byte> bytes) const {
  std::byte* row_bytes = bytes.data();
  for (int32_t matrix = 0; matrix < shape_.layers * shape_.heads; ++matrix) {
    const Panels<float> elements = Base(base, matrix / shape_.heads, matrix % shape_.heads);
    for (int32_t row = 0; row < shape_.key_dim; ++row) {
      ReadRow(elements, row, shape_.value_dim, row_bytes);
      row_bytes += shape_.value_dim * sizeof(float);
    }
  }
}

void CpuStates::WriteBase(std::span<const std::byte> bytes, int32_t base) {
  const std::byte* row_bytes = bytes.data();
  for (int32_t matrix = 0; matrix < shape_.layers * shape_.heads; ++matrix) {
    const Panels<float> elements = Base(base, matrix / shape_.heads, matrix % shape_.heads);
    for (int32_t row = 0; row < shape_.key_dim; ++row) {
      WriteRow(row_bytes, row, shape_.value_dim, elements);
      row_bytes += shape_.value_dim * sizeof(float);
    }
  }
}

void CpuStates::ReadTail(int32_t slot, int32_t tokens, std::span<std::byte> bytes) const {
  const int64_t token_bytes = TailTokenBytes(shape_);
  std::byte* next = bytes.data();
  for (int32_t head = 0; head < shape_.layers * shape_.kv_heads; ++head) {
    const Strips<float> keys = TailKeys(slot, head / shape_.kv_heads, head % shape_.kv_heads);
    ForKeys(tokens, shape_.key_dim, [&](int32_t token, int32_t i) {
      std::memcpy(next + token * token_bytes + i * sizeof(float), KeyOf(keys, token, i),
                  sizeof(float));
    });
    next += shape_.key_dim * sizeof(float);
  }
  for (int32_t head = 0; head < shape_.layers * shape_.kv_heads; ++head) {
    const Panels<float> values = TailValues(slot, head / shape_.kv_heads, head % shape_.kv_heads);
    for (int32_t token = 0; token < tokens; ++token) {
      ReadRow(values, token, shape_.value_dim, next + token * token_bytes);
    }
    next += shape_.value_dim * sizeof(float);
  }
}

void CpuStates::WriteTail(std::span<const std::byte> bytes, int32_t tokens, int32_t slot) {
  const int64_t token_bytes = TailTokenBytes(shape_);
  const std::byte* next = bytes.data();
  for (int32_t head = 0; head < shape_.layers * shape_.kv_heads; ++head) {
    const Strips<float> keys = TailKeys(slot, head / shape_.kv_heads, head % shape_.kv_heads);
    ForKeys(tokens, shape_.key_dim, [&](int32_t token, int32_t i) {
      std::memcpy(KeyOf(keys, token, i), next + token * token_bytes + i * sizeof(float),
                  sizeof(float));
    });
    next += shape_.key_dim * sizeof(float);
  }
  for (int32_t head = 0; head < shape_.layers * shape_.kv_heads; ++head) {
    const Panels<float> values = TailValues(slot, head / shape_.kv_heads, head % shape_.kv_heads);
    for (int32_t token = 0; token < tokens; ++token) {
      WriteRow(next + token * token_bytes, token, shape_.value_dim, values);
    }
    next += shape_.value_dim * sizeof(float);
  }
}

void CpuStates::CopyKeys(Strips<const float> keys, int32_t tokens, Strips<float> copy) const {
  for (int32_t first = 0; first < tokens; first += kStripColumns) {
    const int64_t strip = first / kStripColumns;
    const int64_t used = std::min<int64_t>(kStripColumns, tokens - first);
    for (int32_t i = 0; i < shape_.key_dim; ++i) {
      std::copy_n(keys.From(i, strip).data, used, copy.From(i, strip).data);
    }
  }
}

void CpuStates::CopyTail(int32_t from, int32_t to, int32_t tokens) {
  for (int32_t layer = 0; layer < shape_.layers; ++layer) {
    for (int32_t head = 0; head < shape_.kv_heads; ++head) {
      CopyKeys(TailKeys(from, layer, head), tokens, TailKeys(to, layer, head));
      const Panels<float> values = TailValues(from, layer, head);
      for (int32_t strip = 0; strip < strips(); strip += kPanelStrips) {
        std::copy_n(values.panel(strip).data, tokens * values.width(strip) * kStripColumns,
                    TailValues(to, layer, head).panel(strip).data);
      }
    }
  }
}

}  // namespace retnet::cpu
