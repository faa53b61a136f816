#include <utility>

#include "kernels/cuda/cuda_kernels.h"
#include "tests/kernels/cuda/cuda_backends.h"
#include "tests/models/recording_model.h"
#include "tests/models/test_model.h"

namespace retnet {
namespace {

Backend CudaBackendOf(const std::string& name, RowClass row_class,
                      ElementType base_type = ElementType::kFloat32) {
  return {.name = name,
          .rounds_activations = true,
          .rounds_tails = true,
          .base_type = base_type,
          // See CudaBackend::RowsAreExact.
          .exact_in_float32 = row_class == RowClass::kSampled,
          .make = [row_class, base_type](const std::string& directory, int32_t slots,
                                         int32_t max_rows) {
            auto kernels = cuda::CudaKernels::Make(max_rows);
            EXPECT_TRUE(kernels.ok()) << kernels.status();
            return MakeTestModel(
                directory,
                std::make_unique<RecordingKernels<cuda::CudaKernels>>(*std::move(kernels)), slots,
                max_rows, row_class, base_type);
          }};
}

Backend UnrecordedBackendOf(const std::string& name, bool replays) {
  return {.name = name,
          .rounds_activations = true,
          .rounds_tails = true,
          .make = [replays](const std::string& directory, int32_t slots, int32_t max_rows) {
            auto kernels = cuda::CudaKernels::Make(max_rows, replays);
            EXPECT_TRUE(kernels.ok()) << kernels.status();
            return MakeTestModel(directory,
                                 std::make_unique<cuda::CudaKernels>(*std::move(kernels)), slots,
                                 max_rows);
          }};
}

}  // namespace

std::vector<Backend> Backends() {
  return {CudaBackendOf("cuda_sampled", RowClass::kSampled),
          CudaBackendOf("cuda_sampled_bf16_bases", RowClass::kSampled, ElementType::kBFloat16),
          CudaBackendOf("cuda_given_fp16_bases", RowClass::kPrompt, ElementType::kFloat16),
          CudaBackendOf("cuda_given", RowClass::kPrompt)};
}

std::vector<Backend> UnrecordedBackends() {
  return {UnrecordedBackendOf("cuda", /*replays=*/false),
          UnrecordedBackendOf("cuda_graphs", /*replays=*/true)};
}

}  // namespace retnet
