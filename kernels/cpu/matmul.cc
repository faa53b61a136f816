#include "kernels/cpu/matmul.h"

#include "kernels/cpu/bfloat16_dot.h"
#include "kernels/cpu/targets-inl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/matmul.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h:
#include "kernels/cpu/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retnet::cpu {
namespace HWY_NAMESPACE {
namespace {

struct Float16Source : Float32Arithmetic {
  using Element = uint16_t;
  static constexpr int kDepth = 1;
  template <int kWhich>
  static HWY_INLINE Row Load(const uint16_t* row) {
    const hn::Rebind<hwy::float16_t, Tag> half;
    return hn::PromoteTo(Tag(), hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(row)));
  }
};

// Pairs of bf16. A shift widens the lower one, a mask the upper one.
struct BFloat16Source : Float32Arithmetic {
  using Element = uint32_t;
  static constexpr int kDepth = 2;
#if HWY_TARGET == HWY_AVX2
  static constexpr int kMaxRows = 5;  // the mask takes one register
#endif
  template <int kWhich>
  static HWY_INLINE Row Load(const uint32_t* row) {
    const hn::RebindToUnsigned<Tag> bits;
    const auto pairs = hn::LoadU(bits, row);
    return hn::BitCast(
        Tag(), kWhich == 0 ? hn::ShiftLeft<16>(pairs) : hn::And(pairs, hn::Set(bits, 0xFFFF0000u)));
  }
};

MatMulOperators MakeMatMulOperators() {
  return {.float32 = MultiplyWeight<Float32Source>,
          .float16 = MultiplyWeight<Float16Source>,
          .bfloat16 = MultiplyWeight<BFloat16Source>};
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace retnet::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retnet::cpu {

MatMulOperators MatMulOperatorsFor(InstructionSet set) {
  MatMulOperators operators = RETNET_FOR_INSTRUCTION_SET(set, MakeMatMulOperators);
  if (set == InstructionSet::kAvx512Bf16) {
    operators.bfloat16 = MultiplyBFloat16Pairs;
    operators.bfloat16_pairs = true;
  }
  return operators;
}

}  // namespace retnet::cpu
#endif  // HWY_ONCE
