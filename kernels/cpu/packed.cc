#include "kernels/cpu/packed.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "kernels/element.h"
#include "kernels/stacked_weight.h"
#include "kernels/status_macros.h"

namespace retnet::cpu {
namespace {

// The 16 rows that become the columns of one strip. `data` is nullptr where the strip is padding.
using StripRows = std::array<HostTensor, kStripColumns>;

StripRows RowsOfStrip(std::span<const HostTensor> tensors, int64_t strip) {
  StripRows rows;
  int64_t first = -strip * kStripColumns;  // the column of the strip that row 0 of `tensor` has
  for (const HostTensor& tensor : tensors) {
    const int64_t begin = std::clamp<int64_t>(first, 0, kStripColumns);
    const int64_t end = std::clamp<int64_t>(first + tensor.rows, 0, kStripColumns);
    for (int64_t j = begin; j < end; ++j) {
      rows[j] = {tensor.type, tensor.row(j - first), 1, tensor.columns};
    }
    first += tensor.rows;
  }
  return rows;
}

// Transposes `rows` to strip[k][16]. Element has the size of one element of the rows, or of a pair.
template <typename Element>
void PackElements(const StripRows& rows, int64_t inputs, std::byte* strip) {
  const int64_t row_bytes = inputs * SizeOf(rows[0].type);
  const int64_t whole = row_bytes / sizeof(Element);
  for (int64_t k = 0; k * int64_t{sizeof(Element)} < row_bytes; ++k) {
    Element elements[kStripColumns] = {};
    const size_t bytes = k < whole ? sizeof(Element) : row_bytes - whole * sizeof(Element);
    for (int64_t j = 0; j < kStripColumns; ++j) {
      if (rows[j].data == nullptr) continue;
      std::memcpy(&elements[j], rows[j].data + k * sizeof(Element), bytes);
    }
    std::memcpy(strip + k * sizeof(elements), elements, sizeof(elements));
  }
}

// The same for rows of different types, which are widened to fp32.
void PackWidened(const StripRows& rows, int64_t inputs, std::byte* strip) {
  for (int64_t k = 0; k < inputs; ++k) {
    float elements[kStripColumns] = {};
    for (int64_t j = 0; j < kStripColumns; ++j) {
      if (rows[j].data != nullptr) elements[j] = ElementAt(rows[j], k);
    }
    std::memcpy(strip + k * sizeof(elements), elements, sizeof(elements));
  }
}

// Bytes of one strip of a weight; see PackedWeight.
int64_t StripBytes(ElementType type, int64_t inputs) {
  const int64_t elements = type == ElementType::kBFloat16 ? (inputs + 1) / 2 * 2 : inputs;
  return elements * kStripColumns * static_cast<int64_t>(SizeOf(type));
}

}  // namespace

absl::StatusOr<PackedWeight> PackedWeight::Pack(std::span<const HostTensor> tensors,
                                                ThreadPool& pool) {
  ASSIGN_OR_RETURN(const StackedShape stack, StackedShapeOf(tensors));
  PackedWeight weight;
  weight.type_ = stack.type;
  weight.outputs_ = stack.rows;
  weight.inputs_ = stack.columns;

  const int64_t strip_bytes = StripBytes(weight.type_, weight.inputs_);
  const int64_t strips = StripsOf(weight.outputs_);
  weight.strip_words_ = strip_bytes / int64_t{sizeof(uint32_t)};
  ASSIGN_OR_RETURN(weight.words_, AlignedArray<uint32_t>::Make(strips * weight.strip_words_));
  auto* bytes = reinterpret_cast<std::byte*>(weight.words_.data());
  pool.Run(strips, [&](int64_t strip, int32_t) {
    const StripRows rows = RowsOfStrip(tensors, strip);
    std::byte* to = bytes + strip * strip_bytes;
    if (stack.mixed) {
      PackWidened(rows, weight.inputs_, to);
    } else if (weight.type_ == ElementType::kFloat16) {
      PackElements<uint16_t>(rows, weight.inputs_, to);
    } else {  // an fp32 number, or a pair of bf16
      PackElements<uint32_t>(rows, weight.inputs_, to);
    }
  });
  return weight;
}

void PackedWeight::ReadRow(int64_t output, float multiplier, float* row) const {
  const int64_t strip = output / kStripColumns, column = output % kStripColumns;
  switch (type_) {
    case ElementType::kFloat32: {
      const float* from = strips<float>().strip(strip) + column;
      for (int64_t k = 0; k < inputs_; ++k) row[k] = from[k * kStripColumns] * multiplier;
      return;
    }
    case ElementType::kFloat16: {
      const uint16_t* from = strips<uint16_t>().strip(strip) + column;
      for (int64_t k = 0; k < inputs_; ++k) {
        row[k] = FromFloat16(from[k * kStripColumns]) * multiplier;
      }
      return;
    }
    case ElementType::kBFloat16: {
      const uint32_t* from = strips<uint32_t>().strip(strip) + column;
      for (int64_t k = 0; k < inputs_; ++k) {
        const uint32_t pair = from[k / 2 * kStripColumns];
        row[k] = FromBFloat16(static_cast<uint16_t>(k % 2 == 0 ? pair : pair >> 16)) * multiplier;
      }
      return;
    }
  }
}

}  // namespace retnet::cpu
