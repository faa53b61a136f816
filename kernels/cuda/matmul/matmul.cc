#include "kernels/cuda/matmul/matmul.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/matmul/prompt_rows.h"
#include "kernels/cuda/runtime/cuda_status.h"
#include "kernels/status_macros.h"

namespace retnet::cuda {
namespace {

constexpr int64_t kWorkspaceBytes = int64_t{32} << 20;  // NVIDIA's advice for sm_90
constexpr int32_t kAlgorithms = 16;  // candidates, so that one without split-k is among them

absl::Status BlasStatus(cublasStatus_t status, absl::string_view what) {
  if (status == CUBLAS_STATUS_SUCCESS) return absl::OkStatus();
  const std::string message = absl::StrCat(what, ": ", cublasLtGetStatusName(status));
  return status == CUBLAS_STATUS_ALLOC_FAILED ? absl::ResourceExhaustedError(message)
                                              : absl::InternalError(message);
}

cudaDataType_t DataType(ElementType type) {
  return type == ElementType::kFloat32   ? CUDA_R_32F
         : type == ElementType::kFloat16 ? CUDA_R_16F
                                         : CUDA_R_16BF;
}

// Keeps the first error of several calls.
class FirstError {
 public:
  void KeepFirstError(cublasStatus_t status) {
    if (status_ == CUBLAS_STATUS_SUCCESS) status_ = status;
  }
  cublasStatus_t get() const { return status_; }

 private:
  cublasStatus_t status_ = CUBLAS_STATUS_SUCCESS;
};

// The description of a product for cuBLASLt. It expects column-major matrices, so that a row-major
// y = x·Wᵀ is yᵀ = W·xᵀ. k includes the zeros that pad the inputs, so that it is aligned for every
// shape.
struct Description {
  Description(const CudaWeight& weight, int64_t rows, int64_t y_stride) {
    const cudaDataType_t type = DataType(weight.type());
    const cublasOperation_t transposed = CUBLAS_OP_T;
    error.KeepFirstError(cublasLtMatmulDescInit(&matmul, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    error.KeepFirstError(cublasLtMatmulDescSetAttribute(&matmul, CUBLASLT_MATMUL_DESC_TRANSA,
                                                        &transposed, sizeof(transposed)));
    error.KeepFirstError(
        cublasLtMatrixLayoutInit(&w, type, weight.stride(), weight.outputs(), weight.stride()));
    error.KeepFirstError(
        cublasLtMatrixLayoutInit(&x, type, weight.stride(), rows, weight.stride()));
    error.KeepFirstError(
        cublasLtMatrixLayoutInit(&y, CUDA_R_32F, weight.outputs(), rows, y_stride));
  }

  FirstError error;
  cublasLtMatmulDescOpaque_t matmul;
  cublasLtMatrixLayoutOpaque_t w, x, y;
};

class Preference {
 public:
  // Excludes split-k. `y_alignment` is the alignment of the rows of y, in bytes.
  explicit Preference(uint32_t y_alignment) {
    error_.KeepFirstError(cublasLtMatmulPreferenceInit(&preference_));
    Set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{kWorkspaceBytes});
    Set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, uint32_t{CUBLASLT_REDUCTION_SCHEME_NONE});
    Set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, y_alignment);
    Set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, y_alignment);
  }
  cublasStatus_t error() const { return error_.get(); }
  cublasLtMatmulPreference_t get() { return &preference_; }

 private:
  template <typename T>
  void Set(cublasLtMatmulPreferenceAttributes_t attribute, T value) {
    error_.KeepFirstError(
        cublasLtMatmulPreferenceSetAttribute(&preference_, attribute, &value, sizeof(value)));
  }

  FirstError error_;
  cublasLtMatmulPreferenceOpaque_t preference_;
};

// Whether the algorithm splits k. True if cuBLASLt does not say.
bool MaySplitInputs(const cublasLtMatmulAlgo_t& algorithm) {
  int32_t splits = 1;
  size_t written = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoConfigGetAttribute(
      &algorithm, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &splits, sizeof(splits), &written);
  return status != CUBLAS_STATUS_SUCCESS || splits > 1;
}

// The alignment in bytes that an algorithm may expect of the rows of y: 16 if the columns allow it.
uint32_t RowAlignment(int64_t columns) { return columns % 4 == 0 ? 16 : 4; }

template <typename T>
absl::Status Grow(int64_t size, DeviceArray<T>& array) {
  if (array.size() >= size) return absl::OkStatus();
  array = DeviceArray<T>();  // frees first, since both may not fit at once
  ASSIGN_OR_RETURN(array, DeviceArray<T>::Make(size));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CudaMatMul> CudaMatMul::Make(KernelQueue queue, int32_t max_rows) {
  CudaMatMul matmul(queue);
  matmul.max_rows_ = max_rows;
  RETURN_IF_ERROR(CudaStatus(AllowSkinnySharedMemory(), "preparing the matmul kernels"));
  cublasLtHandle_t handle = nullptr;
  RETURN_IF_ERROR(BlasStatus(cublasLtCreate(&handle), "starting cuBLASLt"));
  matmul.handle_.reset(handle);
  ASSIGN_OR_RETURN(matmul.workspace_, DeviceArray<std::byte>::Make(kWorkspaceBytes));
  return matmul;
}

absl::StatusOr<CudaWeight> CudaMatMul::Pack(std::span<const HostTensor> tensors) {
  ASSIGN_OR_RETURN(CudaWeight weight, CudaWeight::Upload(tensors, queue_.stream));
  RETURN_IF_ERROR(ChooseAlgorithm(weight));
  RETURN_IF_ERROR(
      Reserve(weight, /*gated=*/tensors.size() == 2 && tensors[0].rows == tensors[1].rows));
  return weight;
}

absl::Status CudaMatMul::ChooseAlgorithm(CudaWeight& weight) const {
  // Chosen for max_rows_ rows: long prompts come in pieces that fill a step.
  Description description(weight, max_rows_, weight.outputs());
  Preference preference(RowAlignment(weight.outputs()));
  RETURN_IF_ERROR(BlasStatus(description.error.get(), "describing a matmul to cuBLASLt"));
  RETURN_IF_ERROR(BlasStatus(preference.error(), "describing a matmul to cuBLASLt"));
  cublasLtMatmulHeuristicResult_t results[kAlgorithms];
  int found = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      handle_.get(), &description.matmul, &description.w, &description.x, &description.y,
      &description.y, preference.get(), kAlgorithms, results, &found);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED) return absl::OkStatus();
  RETURN_IF_ERROR(BlasStatus(status, "choosing an algorithm of cuBLASLt"));
  for (int i = 0; i < found; ++i) {
    if (results[i].state != CUBLAS_STATUS_SUCCESS || MaySplitInputs(results[i].algo)) continue;
    weight.set_algorithm(results[i].algo);
    break;
  }
  return absl::OkStatus();
}

absl::Status CudaMatMul::Reserve(const CudaWeight& weight, bool gated) {
  const int64_t stride_bytes = weight.stride() * static_cast<int64_t>(SizeOf(weight.type()));
  RETURN_IF_ERROR(Grow(max_rows_ * stride_bytes, prepared_));
  if (gated) RETURN_IF_ERROR(Grow(max_rows_ * weight.outputs(), joined_));
  const int64_t rows = std::min(max_rows_, SkinnyMaxRows(weight.type()));
  RETURN_IF_ERROR(Grow(SkinnyScratchFloats(weight.outputs(), stride_bytes, rows), sums_));
  const int64_t tiles = SkinnyTiles(weight.outputs());
  if (counters_.size() >= tiles) return absl::OkStatus();
  RETURN_IF_ERROR(Grow(tiles, counters_));
  return CudaStatus(
      cudaMemsetAsync(counters_.data(), 0, tiles * int64_t{sizeof(uint32_t)}, queue_.stream),
      "clearing counters");
}

void CudaMatMul::NormMatMul(MatrixView<const float> x, Norm norm, const CudaWeight& weight,
                            int32_t sampled_rows, MatrixView<float> y) {
  const int64_t sampled = TakesPrompt(weight, y) ? sampled_rows : x.rows;
  Sampled(x.Rows(0, sampled), &norm, weight, SkinnyEpilogue::kStore, Activation::kSilu,
          y.Rows(0, sampled));
  Prompt(x.Rows(sampled, x.rows - sampled), &norm, weight, /*beta=*/0,
         y.Rows(sampled, x.rows - sampled));
}

void CudaMatMul::MatMulAdd(MatrixView<const float> y, const CudaWeight& weight,
                           int32_t sampled_rows, MatrixView<float> x) {
  const int64_t sampled = TakesPrompt(weight, x) ? sampled_rows : y.rows;
  Sampled(y.Rows(0, sampled), nullptr, weight, SkinnyEpilogue::kAdd, Activation::kSilu,
          x.Rows(0, sampled));
  Prompt(y.Rows(sampled, y.rows - sampled), nullptr, weight, /*beta=*/1,
         x.Rows(sampled, y.rows - sampled));
}

void CudaMatMul::NormGatedMatMul(MatrixView<const float> x, Norm norm, const CudaWeight& weight,
                                 Activation activation, int32_t sampled_rows, MatrixView<float> y) {
  const MatrixView<float> joined(joined_.data(), max_rows_, weight.outputs());
  const bool takes_prompt =
      joined_.size() >= max_rows_ * weight.outputs() && TakesPrompt(weight, joined);
  const int64_t sampled = takes_prompt ? sampled_rows : x.rows;
  const int64_t prompt = x.rows - sampled;
  Sampled(x.Rows(0, sampled), &norm, weight, SkinnyEpilogue::kGate, activation, y.Rows(0, sampled));
  if (prompt == 0) return;
  Prompt(x.Rows(sampled, prompt), &norm, weight, /*beta=*/0, joined.Rows(0, prompt));
  KeepFirstError(
      JoinGate(joined.Rows(0, prompt), activation, y.Rows(sampled, prompt), queue_.stream));
}

void CudaMatMul::Sampled(MatrixView<const float> x, const Norm* norm, const CudaWeight& weight,
                         SkinnyEpilogue epilogue, Activation activation, MatrixView<float> y) {
  const int64_t max_rows = SkinnyMaxRows(weight.type());
  for (int64_t first = 0; first < x.rows; first += max_rows) {
    const int64_t rows = std::min(max_rows, x.rows - first);
    KeepFirstError(
        LaunchSkinny({.type = weight.type(),
                      .weight = weight.data(),
                      .stride_bytes = weight.stride() * static_cast<int64_t>(SizeOf(weight.type())),
                      .inputs = static_cast<int32_t>(weight.inputs()),
                      .x = x.Rows(first, rows),
                      .normed = norm != nullptr,
                      .norm = norm != nullptr ? *norm : Norm(),
                      .epilogue = epilogue,
                      .activation = activation,
                      .y = y.Rows(first, rows),
                      .scratch = {sums_.data(), counters_.data()}},
                     queue_));
  }
}

bool CudaMatMul::TakesPrompt(const CudaWeight& weight, MatrixView<float> y) const {
  if (!weight.algorithm().has_value()) return false;
  const uint32_t alignment = RowAlignment(weight.outputs());
  return reinterpret_cast<uintptr_t>(y.data) % alignment == 0 &&
         y.stride * sizeof(float) % alignment == 0;
}

void CudaMatMul::Prompt(MatrixView<const float> x, const Norm* norm, const CudaWeight& weight,
                        float beta, MatrixView<float> y) {
  if (x.rows == 0) return;
  KeepFirstError(
      PrepareActivations(x, norm, weight.type(), weight.stride(), prepared_.data(), queue_.stream));
  Description description(weight, x.rows, y.stride);
  status_.Update(BlasStatus(description.error.get(), "describing a matmul to cuBLASLt"));
  if (!status_.ok()) return;
  const float alpha = 1;
  status_.Update(
      BlasStatus(cublasLtMatmul(handle_.get(), &description.matmul, &alpha, weight.data(),
                                &description.w, prepared_.data(), &description.x, &beta, y.data,
                                &description.y, y.data, &description.y, &*weight.algorithm(),
                                workspace_.data(), workspace_.size(), queue_.stream),
                 "multiplying by cuBLASLt"));
}

void CudaMatMul::KeepFirstError(cudaError_t error) {
  if (error != cudaSuccess) status_.Update(CudaStatus(error, "launching a matmul"));
}

}  // namespace retnet::cuda
