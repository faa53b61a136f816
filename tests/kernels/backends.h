// The backends that the tests of operators run on, each against the reference.
#ifndef RETNET_TESTS_KERNELS_BACKENDS_H_
#define RETNET_TESTS_KERNELS_BACKENDS_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/algorithm/container.h"
#include "gtest/gtest.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/instruction_set.h"
#include "kernels/reference/reference_kernels.h"
#include "kernels/tensor.h"
#include "tests/sanitized.h"

namespace retnet {

// Bounds of the errors of Retention, relative to the root mean square of the results: the greatest
// error, and the root mean square of all errors.
struct RetentionError {
  double worst;
  double mean;
};

// The additional error from rounding at folds. It is largest in heads with one value: the norm
// reduces them almost to their sign, so that values near zero have large errors.
constexpr RetentionError BaseRoundingError(ElementType base_type) {
  return base_type == ElementType::kFloat32   ? RetentionError{0, 0}
         : base_type == ElementType::kFloat16 ? RetentionError{1.2e-2, 1.2e-3}
                                              : RetentionError{3e-1, 2e-2};
}

struct ReferenceBackend {
  using Type = ReferenceKernels;
  static constexpr ElementType kBaseType = ElementType::kFloat32;
  // The ordinary build tests it. Under sanitizers its operators and its sampling run beside those
  // of the other backends, its retention nowhere.
  static bool IsSupported() { return !kSanitized; }
  static std::unique_ptr<Type> Make(int32_t /*threads*/) { return std::make_unique<Type>(); }
  // The greatest error of an operator with weights of this type, relative to the root mean square
  // of the results.
  static double ErrorBound(ElementType) { return 1e-6; }
  static bool RowsAreExact(ElementType) { return true; }
  static RetentionError RetentionErrorBound() { return {3e-5, 1e-5}; }
  static float RoundToTail(float x) { return x; }  // a tail's elements are fp32
  static std::string Name() { return "reference"; }
};

template <ElementType kType>
struct ReferenceBackendOfBases : ReferenceBackend {
  static constexpr ElementType kBaseType = kType;
  static RetentionError RetentionErrorBound() {
    const RetentionError rounding = BaseRoundingError(kType);
    return {3e-5 + rounding.worst, 1e-5 + rounding.mean};
  }
  static std::string Name() {
    return kType == ElementType::kFloat16 ? "reference_fp16_bases" : "reference_bf16_bases";
  }
};

template <cpu::InstructionSet kSet>
struct CpuBackend {
  using Type = cpu::CpuKernels;
  static constexpr ElementType kBaseType = ElementType::kFloat32;
  static bool IsSupported() { return absl::c_linear_search(cpu::SupportedInstructionSets(), kSet); }
  static std::unique_ptr<Type> Make(int32_t threads) {
    return std::make_unique<Type>(cpu::CpuOptions{.threads = threads, .instruction_set = kSet});
  }
  // With bf16 weights, activations are rounded to 8 bits. NormGatedMatMul multiplies two such
  // results.
  static double ErrorBound(ElementType type) {
    return kSet == cpu::InstructionSet::kAvx512Bf16 && type == ElementType::kBFloat16 ? 5e-2 : 2e-5;
  }
  static bool RowsAreExact(ElementType) { return true; }
  static RetentionError RetentionErrorBound() { return {3e-5, 1e-5}; }
  static float RoundToTail(float x) { return x; }
  static std::string Name() {
    std::string name = "cpu_" + std::string(cpu::Name(kSet));
    std::replace(name.begin(), name.end(), '-', '_');  // a test's name may hold no '-'
    return name;
  }
};

using Backends =
    testing::Types<ReferenceBackend, CpuBackend<cpu::InstructionSet::kScalar>,
                   CpuBackend<cpu::InstructionSet::kAvx2>, CpuBackend<cpu::InstructionSet::kAvx512>,
                   CpuBackend<cpu::InstructionSet::kAvx512Bf16>>;

struct BackendNames {
  template <typename Backend>
  static std::string GetName(int) {
    return Backend::Name();
  }
};

// A typed suite that skips its tests if the machine or the build does not run the backend.
template <typename Backend>
class BackendTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!Backend::IsSupported()) GTEST_SKIP() << Backend::Name() << " is not run here";
  }
};

}  // namespace retnet

#endif  // RETNET_TESTS_KERNELS_BACKENDS_H_
