#include "kernels/cuda/cuda_kernels.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/cuda_status.h"
#include "kernels/cuda/rows.h"
#include "kernels/status_macros.h"

namespace retnet {

static_assert(Kernels<CudaKernels>);

namespace {

// The oldest that the kernels' instructions (cp.async, bf16 mma) run on.
constexpr int kLeastMajor = 8;

// What a step of so many rows sends: tokens, positions, indices of output rows, and of every row a
// piece and a segment at most, in two calls of LayOut at most.
int64_t StagingBytes(int64_t rows) {
  constexpr int64_t kArrays = 16;  // that start at an alignment of their own
  const int64_t output_launches = rows;
  return rows *
             static_cast<int64_t>(3 * sizeof(int32_t) + sizeof(RetentionPiece) + sizeof(int32_t)) +
         (kArrays + output_launches) * Staging::kAlignment;
}

absl::StatusOr<std::string> FindDevice() {
  int devices = 0;
  const cudaError_t error = cudaGetDeviceCount(&devices);
  if (error != cudaSuccess) return CudaStatus(error, "looking for a CUDA device");
  if (devices == 0) return absl::UnavailableError("there is no CUDA device");
  cudaDeviceProp properties;
  RETURN_IF_ERROR(CudaStatus(cudaGetDeviceProperties(&properties, 0), "asking the CUDA device"));
  if (properties.major < kLeastMajor) {
    return absl::UnavailableError(absl::StrCat(properties.name, " has compute capability ",
                                               properties.major, ".", properties.minor,
                                               "; it must be ", kLeastMajor, ".0 or newer"));
  }
  return std::string(properties.name);
}

}  // namespace

absl::StatusOr<CudaKernels> CudaKernels::Make(int32_t max_rows) {
  CudaKernels kernels;
  kernels.max_rows_ = max_rows;
  ASSIGN_OR_RETURN(kernels.device_name_, FindDevice());
  cudaStream_t stream = nullptr;
  RETURN_IF_ERROR(CudaStatus(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking),
                             "making a stream on the CUDA device"));
  kernels.stream_.reset(stream);
  ASSIGN_OR_RETURN(kernels.products_, CudaProducts::Make(stream, max_rows));
  ASSIGN_OR_RETURN(kernels.answerer_, CudaAnswerer::Make(max_rows));
  ASSIGN_OR_RETURN(kernels.staging_, Staging::Make(StagingBytes(max_rows)));
  return kernels;
}

absl::StatusOr<DeviceMemory> CudaKernels::Memory() {
  size_t free = 0;
  size_t total = 0;
  RETURN_IF_ERROR(CudaStatus(cudaMemGetInfo(&free, &total), "asking for the device's memory"));
  return DeviceMemory{static_cast<int64_t>(free), static_cast<int64_t>(total)};
}

void CudaKernels::Note(cudaError_t error, absl::string_view what) {
  if (error != cudaSuccess) status_.Update(CudaStatus(error, what));
}

template <typename T>
const T* CudaKernels::Send(std::span<const T> values) {
  const T* sent = staging_.Send(values, stream_.get());
  if (sent == nullptr) {
    Note(cudaGetLastError(), "sending a step's rows to the device");
    status_.Update(absl::InternalError("a step's rows do not fit in their staging memory"));
  }
  return sent;
}

absl::StatusOr<CudaWeight> CudaKernels::Pack(std::span<const HostTensor> tensors) {
  ASSIGN_OR_RETURN(Weight weight, products_->Pack(tensors));
  RETURN_IF_ERROR(answerer_.Reserve(weight.outputs()));  // any may be the output projection
  return weight;
}

absl::StatusOr<CudaKernels::Buffer> CudaKernels::Upload(std::span<const float> values) {
  ASSIGN_OR_RETURN(Buffer buffer, Allocate(static_cast<int64_t>(values.size())));
  RETURN_IF_ERROR(CudaStatus(
      cudaMemcpy(buffer.data(), values.data(), values.size_bytes(), cudaMemcpyHostToDevice),
      "copying to the device"));
  return buffer;
}

absl::StatusOr<CudaStates> CudaKernels::AllocateStates(const RetentionShape& shape,
                                                       std::span<const float> decay) {
  return CudaStates::Make(shape, decay, max_rows_);
}

absl::StatusOr<CudaKernels::Rotation> CudaKernels::AllocateRotation(
    int64_t max_rows, std::span<const double> thetas) {
  Rotation rotation;
  rotation.pairs = static_cast<int64_t>(thetas.size());
  ASSIGN_OR_RETURN(rotation.thetas, DeviceArray<double>::Make(rotation.pairs));
  RETURN_IF_ERROR(CudaStatus(cudaMemcpy(rotation.thetas.data(), thetas.data(), thetas.size_bytes(),
                                        cudaMemcpyHostToDevice),
                             "copying to the device"));
  ASSIGN_OR_RETURN(rotation.cosines, Buffer::Make(max_rows * rotation.pairs));
  ASSIGN_OR_RETURN(rotation.sines, Buffer::Make(max_rows * rotation.pairs));
  return rotation;
}

RetentionPlan CudaKernels::LayOut(std::span<const RetentionSegment> segments) {
  retnet::LayOut(segments, sampled_rows_, &layout_);
  return {.pieces = Send<RetentionPiece>(layout_.pieces),
          .starts = Send<int32_t>(layout_.starts),
          .sampled = layout_.sampled,
          .given = layout_.given};
}

void CudaKernels::Embed(std::span<const TokenId> tokens, const Weight& weight, float multiplier,
                        MatrixView<float> x) {
  const EmbeddingTable table{weight.data(), weight.type(), weight.stride()};
  Note(EmbedRows(Send(tokens), table, multiplier, x, stream_.get()), "Embed");
}

void CudaKernels::Normalize(Norm norm, MatrixView<float> x) {
  Note(NormalizeRows(norm.weight, norm.epsilon, x, stream_.get()), "Normalize");
}

void CudaKernels::Rotate(std::span<const int32_t> positions, Rotation& rotation) {
  rotation.rows = static_cast<int64_t>(positions.size());
  Note(RotateRows(Send(positions), rotation.thetas.data(), rotation.rows, rotation.pairs,
                  rotation.cosines.data(), rotation.sines.data(), stream_.get()),
       "Rotate");
}

void CudaKernels::NormMatMul(MatrixView<const float> x, Norm norm, const Weight& weight,
                             MatrixView<float> y) {
  products_->NormMatMul(x, norm, weight, SampledOf(x.rows), y);
}

void CudaKernels::MatMulAdd(MatrixView<const float> y, const Weight& weight, MatrixView<float> x) {
  products_->MatMulAdd(y, weight, SampledOf(y.rows), x);
}

void CudaKernels::NormGatedMatMul(MatrixView<const float> x, Norm norm, const Weight& weight,
                                  Activation activation, MatrixView<float> y) {
  products_->NormGatedMatMul(x, norm, weight, activation, SampledOf(x.rows), y);
}

void CudaKernels::Retention(int32_t layer, const Segments& segments,
                            MatrixView<const float> projections, const Rotation& rotation,
                            Norm norm, States& states, MatrixView<float> out) {
  const RetentionInputs inputs{.layer = layer,
                               .projections = projections,
                               .cosines = {rotation.cosines.data(), rotation.rows, rotation.pairs},
                               .sines = {rotation.sines.data(), rotation.rows, rotation.pairs},
                               .norm = norm};
  Note(Retain(segments, inputs, states.view(), out, stream_.get()), "Retention");
}

void CudaKernels::Gather(MatrixView<const float> x, std::span<const int32_t> indices,
                         MatrixView<float> y) {
  Note(GatherRows(x, Send(indices), y, stream_.get()), "Gather");
}

void CudaKernels::Answer(MatrixView<const float> logits, std::span<const LogitsQuery> queries,
                         std::span<LogitsAnswer> answers) {
  status_.Update(answerer_.Answer(logits, queries, answers, stream_.get()));
}

void CudaKernels::ReadBase(const States& states, int32_t base, std::span<std::byte> bytes) {
  status_.Update(states.ReadBase(base, bytes, stream_.get()));
}

// The bytes may be the caller's again when the call returns, so that it waits for their copy.
void CudaKernels::WriteBase(std::span<const std::byte> bytes, int32_t base, States& states) {
  status_.Update(states.WriteBase(bytes, base, stream_.get()));
  Note(cudaStreamSynchronize(stream_.get()), "writing a base");
}

void CudaKernels::ReadTail(const States& states, int32_t slot, int32_t tokens,
                           std::span<std::byte> bytes) {
  status_.Update(states.ReadTail(slot, tokens, bytes, stream_.get()));
}

void CudaKernels::WriteTail(std::span<const std::byte> bytes, int32_t tokens, int32_t slot,
                            States& states) {
  status_.Update(states.WriteTail(bytes, tokens, slot, stream_.get()));
  Note(cudaStreamSynchronize(stream_.get()), "writing a tail");
}

void CudaKernels::CopyTail(int32_t from, int32_t to, int32_t tokens, States& states) {
  status_.Update(states.CopyTail(from, to, tokens, stream_.get()));
}

absl::Status CudaKernels::Finish() {
  status_.Update(products_->status());
  status_.Update(answerer_.Collect(stream_.get()));
  staging_.Clear();
  return status_;
}

}  // namespace retnet
