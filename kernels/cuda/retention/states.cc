#include "kernels/cuda/retention/states.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "kernels/cuda/runtime/cuda_status.h"
#include "kernels/status_macros.h"

namespace retnet::cuda {
namespace {

constexpr int64_t kElementBytes = sizeof(__nv_bfloat16);

int32_t RoundedUp(int32_t value, int32_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

StatesView EmptyView(const RetentionShape& shape) {
  StatesView view;
  view.shape = shape;
  view.padded_key_dim = RoundedUp(shape.key_dim, 16);
  view.padded_value_dim = RoundedUp(shape.value_dim, 8);
  return view;
}

int64_t BaseElementBytes(const RetentionShape& shape) {
  return static_cast<int64_t>(SizeOf(shape.base_type));
}

// The numbers of one base, and below of one tail's k or v.
int64_t BaseSize(const StatesView& view) {
  return int64_t{view.shape.layers} * view.shape.heads * view.shape.key_dim * view.padded_value_dim;
}
int64_t TailSize(const StatesView& view, int32_t padded_columns) {
  return view.TailIndex(1, 0, 0) * kChunk * padded_columns;
}

// The numbers of one prepared row.
int64_t PreparedRowSize(const StatesView& view) {
  return int64_t{view.shape.heads} * (view.padded_key_dim + kChunk) +
         int64_t{view.shape.kv_heads} * (view.padded_key_dim + view.padded_value_dim);
}

// One part of a tail: the k or the v of all tokens. The heads of a token are apart on the device
// and adjacent in its bytes.
struct TailPart {
  __nv_bfloat16* elements;  // [layers, kv_heads, kChunk, padded_columns]
  int64_t padded_columns;
  int64_t columns;
  int64_t first_byte;  // offset in the bytes of a token
};

struct TailParts {
  TailPart keys;
  TailPart values;
};

TailParts PartsOf(const StatesView& view, int32_t slot) {
  const int64_t key_bytes = view.TailIndex(1, 0, 0) * view.shape.key_dim * kElementBytes;
  return {{view.TailKeys(slot, 0, 0), view.padded_key_dim, view.shape.key_dim, 0},
          {view.TailValues(slot, 0, 0), view.padded_value_dim, view.shape.value_dim, key_bytes}};
}

using Direction = CudaStates::Direction;

// Copies `rows` rows of row_bytes and waits. The rows are `pitch` bytes apart on the device and
// without gaps in pinned memory.
absl::Status Copy(Direction direction, void* on_device, int64_t pitch, int64_t row_bytes,
                  int64_t rows, const CopyLane& lane) {
  const cudaError_t error =
      direction == Direction::kRead
          ? cudaMemcpy2DAsync(lane.pinned, row_bytes, on_device, pitch, row_bytes, rows,
                              cudaMemcpyDeviceToHost, lane.stream)
          : cudaMemcpy2DAsync(on_device, pitch, lane.pinned, row_bytes, row_bytes, rows,
                              cudaMemcpyHostToDevice, lane.stream);
  RETURN_IF_ERROR(CudaStatus(error, "copying a state"));
  return CudaStatus(cudaStreamSynchronize(lane.stream), "copying a state");
}

// Copies heads first … first + heads − 1 of a part between pinned memory, [heads, tokens,
// padded_columns], and the bytes of a tail. A write sets the padding in pinned memory to zero.
void SortTail(Direction direction, const TailPart& part, int64_t first, int64_t heads,
              int32_t tokens, int64_t token_bytes, std::byte* pinned, std::byte* bytes) {
  const int64_t row_bytes = part.columns * kElementBytes;
  const int64_t padded_bytes = part.padded_columns * kElementBytes;
  for (int64_t head = 0; head < heads; ++head) {
    for (int32_t token = 0; token < tokens; ++token, pinned += padded_bytes) {
      std::byte* row = bytes + token * token_bytes + part.first_byte + (first + head) * row_bytes;
      if (direction == Direction::kRead) {
        std::memcpy(row, pinned, row_bytes);
      } else {
        std::memcpy(pinned, row, row_bytes);
        std::memset(pinned + row_bytes, 0, padded_bytes - row_bytes);
      }
    }
  }
}

}  // namespace

int64_t CudaStates::CopyBytesAtLeast(const RetentionShape& shape) {
  const StatesView view = EmptyView(shape);
  return std::max<int64_t>(
      shape.value_dim * BaseElementBytes(shape),
      int64_t{kChunk} * std::max(view.padded_key_dim, view.padded_value_dim) * kElementBytes);
}

absl::StatusOr<CudaStates> CudaStates::Make(const RetentionShape& shape,
                                            std::span<const float> decay, int64_t max_rows) {
  CudaStates states;
  StatesView& view = states.view_;
  view = EmptyView(shape);
  std::vector<float> decays;
  for (float gamma : decay) {
    for (int32_t n = 0; n <= kChunk; ++n) {
      decays.push_back(static_cast<float>(std::pow(double{gamma}, n)));
    }
  }
  const int64_t keys = TailSize(view, view.padded_key_dim);
  const int64_t values = TailSize(view, view.padded_value_dim);
  ASSIGN_OR_RETURN(states.decays_, DeviceArray<float>::Make(decays.size()));
  ASSIGN_OR_RETURN(states.bases_, DeviceArray<std::byte>::Make(shape.slots * BaseSize(view) *
                                                               BaseElementBytes(shape)));
  ASSIGN_OR_RETURN(states.tail_keys_, DeviceArray<__nv_bfloat16>::Make(shape.slots * keys));
  ASSIGN_OR_RETURN(states.tail_values_, DeviceArray<__nv_bfloat16>::Make(shape.slots * values));
  ASSIGN_OR_RETURN(states.arrivals_,
                   DeviceArray<int32_t>::Make(int64_t{shape.slots} * shape.kv_heads));
  ASSIGN_OR_RETURN(states.exchanged_weights_,
                   DeviceArray<float>::Make(max_rows * shape.heads * kChunk));
  const int64_t prepared = max_rows * PreparedRowSize(view);
  ASSIGN_OR_RETURN(states.prepared_, DeviceArray<__nv_bfloat16>::Make(prepared));
  view.decays = states.decays_.data();
  view.bases = states.bases_.data();
  view.tail_keys = states.tail_keys_.data();
  view.tail_values = states.tail_values_.data();
  view.arrivals = states.arrivals_.data();
  view.exchanged_weights = states.exchanged_weights_.data();
  view.prepared_queries = states.prepared_.data();
  view.prepared_keys = view.prepared_queries + max_rows * shape.heads * view.padded_key_dim;
  view.prepared_values = view.prepared_keys + max_rows * shape.kv_heads * view.padded_key_dim;
  view.prepared_weights = view.prepared_values + max_rows * shape.kv_heads * view.padded_value_dim;
  RETURN_IF_ERROR(CudaStatus(cudaMemcpy(states.decays_.data(), decays.data(),
                                        decays.size() * sizeof(float), cudaMemcpyHostToDevice),
                             "copying the decays to the device"));
  RETURN_IF_ERROR(
      CudaStatus(cudaMemset(view.tail_keys, 0, shape.slots * keys * kElementBytes), "clearing k"));
  RETURN_IF_ERROR(CudaStatus(cudaMemset(view.tail_values, 0, shape.slots * values * kElementBytes),
                             "clearing v"));
  RETURN_IF_ERROR(
      CudaStatus(cudaMemset(view.arrivals, 0, states.arrivals_.size() * sizeof(int32_t)),
                 "clearing the arrivals"));
  static_assert(kNoWeight == 0xFFFFFFFF);  // so that memset, which sets bytes, can write it
  RETURN_IF_ERROR(CudaStatus(
      cudaMemset(view.exchanged_weights, 0xFF, states.exchanged_weights_.size() * sizeof(float)),
      "clearing the exchanged weights"));
  RETURN_IF_ERROR(CudaStatus(cudaDeviceSynchronize(), "making the states"));
  return states;
}

int64_t CudaStates::SlotBytes(const RetentionShape& shape) {
  const StatesView view = EmptyView(shape);
  return BaseSize(view) * BaseElementBytes(shape) +
         TailSize(view, view.padded_key_dim + view.padded_value_dim) * kElementBytes;
}

int64_t CudaStates::RowBytes(const RetentionShape& shape) {
  return PreparedRowSize(EmptyView(shape)) * kElementBytes +
         int64_t{shape.heads} * kChunk * int64_t{sizeof(float)};
}

int64_t CudaStates::BaseBytes(const RetentionShape& shape) {
  return int64_t{shape.layers} * shape.heads * shape.key_dim * shape.value_dim *
         BaseElementBytes(shape);
}

int64_t CudaStates::TailTokenBytes(const RetentionShape& shape) {
  return int64_t{shape.layers} * shape.kv_heads * (shape.key_dim + shape.value_dim) * kElementBytes;
}

absl::Status CudaStates::CopyBase(Direction direction, int32_t base, std::byte* bytes,
                                  const CopyLane& lane) const {
  const int64_t row_bytes = view_.shape.value_dim * BaseElementBytes(view_.shape);
  const int64_t pitch = view_.padded_value_dim * BaseElementBytes(view_.shape);
  const int64_t rows = BaseSize(view_) / view_.padded_value_dim;
  std::byte* first_row = view_.bases + base * rows * pitch;
  const int64_t step = std::max<int64_t>(lane.size / row_bytes, 1);
  for (int64_t first = 0; first < rows; first += step) {
    const int64_t count = std::min(step, rows - first);
    std::byte* piece = bytes + first * row_bytes;
    if (direction == Direction::kWrite) std::memcpy(lane.pinned, piece, count * row_bytes);
    RETURN_IF_ERROR(Copy(direction, first_row + first * pitch, pitch, row_bytes, count, lane));
    if (direction == Direction::kRead) std::memcpy(piece, lane.pinned, count * row_bytes);
  }
  return absl::OkStatus();
}

absl::Status CudaStates::ReadBase(int32_t base, std::span<std::byte> bytes,
                                  const CopyLane& lane) const {
  return CopyBase(Direction::kRead, base, bytes.data(), lane);
}

absl::Status CudaStates::WriteBase(std::span<const std::byte> bytes, int32_t base,
                                   const CopyLane& lane) {
  return CopyBase(Direction::kWrite, base, const_cast<std::byte*>(bytes.data()), lane);
}

absl::Status CudaStates::ReadTail(int32_t slot, int32_t tokens, std::span<std::byte> bytes,
                                  const CopyLane& lane) const {
  return CopyTailBytes(Direction::kRead, slot, tokens, bytes.data(), lane);
}

absl::Status CudaStates::WriteTail(std::span<const std::byte> bytes, int32_t tokens, int32_t slot,
                                   const CopyLane& lane) {
  return CopyTailBytes(Direction::kWrite, slot, tokens, const_cast<std::byte*>(bytes.data()), lane);
}

// In pinned memory, each head of a part is `tokens` padded rows, so that one copy moves as many
// heads as fit. The host rearranges them to or from the bytes, where the heads of a token are
// adjacent.
absl::Status CudaStates::CopyTailBytes(Direction direction, int32_t slot, int32_t tokens,
                                       std::byte* bytes, const CopyLane& lane) const {
  const int64_t token_bytes = TailTokenBytes(view_.shape);
  const int64_t heads = view_.TailIndex(1, 0, 0);
  const auto [keys, values] = PartsOf(view_, slot);
  for (const TailPart& part : {keys, values}) {
    const int64_t padded_bytes = part.padded_columns * kElementBytes;
    const int64_t head_bytes = tokens * padded_bytes;
    const int64_t step = std::max<int64_t>(lane.size / std::max<int64_t>(head_bytes, 1), 1);
    for (int64_t first = 0; first < heads; first += step) {
      const int64_t count = std::min(step, heads - first);
      const auto sort = [&] {
        SortTail(direction, part, first, count, tokens, token_bytes, lane.pinned, bytes);
      };
      if (direction == Direction::kWrite) sort();
      RETURN_IF_ERROR(Copy(direction, part.elements + first * kChunk * part.padded_columns,
                           kChunk * padded_bytes, head_bytes, count, lane));
      if (direction == Direction::kRead) sort();
    }
  }
  return absl::OkStatus();
}

absl::Status CudaStates::CopyTail(int32_t from, int32_t to, int32_t tokens, cudaStream_t stream) {
  const TailParts sources = PartsOf(view_, from);
  const TailParts targets = PartsOf(view_, to);
  for (const auto& [source, target] :
       {std::pair(sources.keys, targets.keys), std::pair(sources.values, targets.values)}) {
    const int64_t pitch = kChunk * source.padded_columns * kElementBytes;
    RETURN_IF_ERROR(
        CudaStatus(cudaMemcpy2DAsync(target.elements, pitch, source.elements, pitch,
                                     tokens * source.padded_columns * kElementBytes,
                                     view_.TailIndex(1, 0, 0), cudaMemcpyDeviceToDevice, stream),
                   "copying a tail"));
  }
  return absl::OkStatus();
}

}  // namespace retnet::cuda
