#include "kernels/cpu/rows.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/targets-inl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rows.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h:
#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace retnet::cpu {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using Tag = hn::CappedTag<float, 16>;
using Vector = hn::Vec<Tag>;
using BitsTag = hn::RebindToUnsigned<Tag>;
constexpr int64_t kLanes = hn::MaxLanes(Tag());

// Loads the first `count` lanes of a vector. The others are zero.
HWY_INLINE Vector LoadSome(const float* x, int64_t count) {
  if (count >= kLanes) return hn::LoadU(Tag(), x);
  HWY_ALIGN float lanes[kLanes] = {};
  std::copy_n(x, count, lanes);
  return hn::Load(Tag(), lanes);
}

HWY_INLINE void StoreSome(Vector value, int64_t count, float* y) {
  if (count >= kLanes) {
    hn::StoreU(value, Tag(), y);
    return;
  }
  HWY_ALIGN float lanes[kLanes];
  hn::Store(value, Tag(), lanes);
  std::copy_n(lanes, count, y);
}

// 1 / sqrt(mean(x²) + epsilon). Four partial sums hide the latency of the multiply-adds: vector i
// of x is added to sum i mod 4.
float NormScale(const float* x, int64_t columns, float epsilon) {
  const Tag d;
  Vector sums[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  int64_t i = 0;
  for (; i + 4 * kLanes <= columns; i += 4 * kLanes) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const Vector value = hn::LoadU(d, x + i + j * kLanes);
      sums[j] = hn::MulAdd(value, value, sums[j]);
    }
  }
  for (; i < columns; i += kLanes) {
    const Vector value = LoadSome(x + i, columns - i);
    sums[0] = hn::MulAdd(value, value, sums[0]);
  }
  const Vector sum = hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3]));
  const float mean = hn::GetLane(hn::SumOfLanes(d, sum)) / static_cast<float>(columns);
  return 1.0f / std::sqrt(mean + epsilon);
}

// Calls store(i, count, vector) for each vector of x, or of RMSNorm(x) if `norm` is not null.
template <typename Store>
HWY_INLINE void ForEachVector(const float* x, int64_t columns, const Norm* norm,
                              const Store& store) {
  const Tag d;
  const Vector scale = hn::Set(d, norm == nullptr ? 1.0f : NormScale(x, columns, norm->epsilon));
  for (int64_t i = 0; i < columns; i += kLanes) {
    const int64_t count = std::min(kLanes, columns - i);
    Vector value = hn::Mul(LoadSome(x + i, count), scale);
    if (norm != nullptr && norm->weight != nullptr) {
      value = hn::Mul(value, LoadSome(norm->weight + i, count));
    }
    store(i, count, value);
  }
}

void Normalize(const float* x, int64_t columns, Norm norm, float* y) {
  ForEachVector(x, columns, &norm, [y](int64_t i, int64_t count, Vector value) HWY_ATTR {
    StoreSome(value, count, y + i);
  });
}

void PrepareFloat32(const float* x, int64_t columns, const Norm* norm, const PackedActivations& to,
                    int64_t row) {
  static_assert(kBlockDepth % kLanes == 0);
  ForEachVector(x, columns, norm, [&](int64_t i, int64_t count, Vector value) HWY_ATTR {
    float* block = to.block<float>(i / kBlockDepth) + row * kBlockStride;
    StoreSome(value, count, block + i % kBlockDepth);
  });
}

// Converts fp32 to bf16, rounding to nearest even. A NaN stays a NaN.
HWY_INLINE hn::Vec<BitsTag> RoundToBFloat16(Vector value) {
  const BitsTag d;
  const auto bits = hn::BitCast(d, value);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(d, 0x7FFF))));
  return hn::IfThenElse(hn::RebindMask(d, hn::IsNaN(value)), hn::Set(d, 0x7FC0), rounded);
}

void PrepareBFloat16Pairs(const float* x, int64_t columns, const Norm* norm,
                          const PackedActivations& to, int64_t row) {
  constexpr int64_t kBlockColumns = 2 * kBlockDepth;
  const auto place = [&](int64_t i) {
    uint32_t* block = to.block<uint32_t>(i / kBlockColumns) + row * kBlockStride;
    return reinterpret_cast<uint16_t*>(block) + i % kBlockColumns;
  };
  const hn::Rebind<uint16_t, Tag> half;
  ForEachVector(x, columns, norm, [&](int64_t i, int64_t count, Vector value) HWY_ATTR {
    HWY_ALIGN uint16_t lanes[kLanes];
    hn::Store(hn::TruncateTo(half, RoundToBFloat16(value)), half, lanes);
    std::copy_n(lanes, count, place(i));
  });
  // Completes the last pair. Its weight is zero, but garbage could be NaN, and NaN · 0 is NaN.
  if (columns % 2 != 0) *place(columns) = 0;
}

// x / (1 + e^−x).
HWY_INLINE Vector Silu(Vector x) {
  const Tag d;
  const Vector exponent = hn::Min(hn::Neg(x), hn::Set(d, 88.0f));
  return hn::Div(x, hn::Add(hn::Set(d, 1.0f), hn::Exp(d, exponent)));
}

// x·Φ(x). With z = |x|, Φ(−z) = e^(−z²/2) · t · P(u), where t = 1 / (1 + 0.3 z / √2) and u is t
// mapped to [−1, 1]. The polynomial P interpolates ½ e^(z²/2) erfc(z / √2) / t at the Chebyshev
// nodes; its error is at most 2.4e-8.
HWY_INLINE Vector Gelu(Vector x) {
  constexpr float kCoefficients[] = {
      -2.349774567199524e-05f, -8.046710611865472e-05f, 2.4990002968373735e-04f,
      2.969475891058584e-03f,  1.3254394033772005e-02f, 3.9347612036278484e-02f,
      8.73408136733678e-02f,   1.5106109732495512e-01f, 2.058806618004682e-01f};
  const Tag d;
  const BitsTag bits;
  const Vector one = hn::Set(d, 1.0f);
  const Vector z = hn::Min(hn::Abs(x), hn::Set(d, 14.0f));
  const Vector t = hn::Div(one, hn::MulAdd(z, hn::Set(d, 0.21213203435596423f), one));
  const Vector u = hn::MulSub(t, hn::Set(d, 2.694444444444444f), hn::Set(d, 1.6944444444444444f));
  Vector p = hn::Set(d, kCoefficients[0]);
#pragma GCC unroll 16
  for (int i = 1; i < 9; ++i) p = hn::MulAdd(p, u, hn::Set(d, kCoefficients[i]));
  // z² in two parts, the first of them exact. As a single rounded number, z² would change e^(−z²/2)
  // by many ulps.
  const Vector high = hn::BitCast(d, hn::And(hn::BitCast(bits, z), hn::Set(bits, 0xFFFFF000u)));
  const Vector minus_half = hn::Set(d, -0.5f);
  const Vector first = hn::Mul(hn::Mul(high, high), minus_half);
  const Vector second = hn::Mul(hn::Mul(hn::Sub(z, high), hn::Add(z, high)), minus_half);
  const Vector below = hn::Mul(hn::Mul(hn::Exp(d, first), hn::Exp(d, second)), hn::Mul(t, p));
  const Vector phi = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), below, hn::Sub(one, below));
  return hn::Mul(x, phi);
}

void Activate(Activation activation, const float* gate, const float* up, int64_t columns,
              float* y) {
  for (int64_t i = 0; i < columns; i += kLanes) {
    const int64_t count = std::min(kLanes, columns - i);
    const Vector z = LoadSome(gate + i, count);
    const Vector activated = activation == Activation::kSilu ? Silu(z) : Gelu(z);
    StoreSome(hn::Mul(activated, LoadSome(up + i, count)), count, y + i);
  }
}

RowOperators MakeRowOperators() {
  return {.normalize = Normalize,
          .prepare_float32 = PrepareFloat32,
          .prepare_bfloat16_pairs = PrepareBFloat16Pairs,
          .activate = Activate};
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace retnet::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retnet::cpu {

RowOperators RowOperatorsFor(InstructionSet set) {
  return RETNET_FOR_INSTRUCTION_SET(set, MakeRowOperators);
}

}  // namespace retnet::cpu
#endif  // HWY_ONCE
