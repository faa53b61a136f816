#include "tests/bench/textbook_recurrence.h"

#include <cmath>
#include <cstdint>

// Highway's headers come after the choice of targets.
#include "kernels/cpu/targets-inl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/bench/textbook_recurrence.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h:
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace retnet {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using Tag = hn::CappedTag<float, 16>;
constexpr int64_t kLanes = hn::MaxLanes(Tag());
constexpr int kVectors = 4;  // whose columns go through all of key_dim together

void Rotate(const float* x, const RecurrentHead& head, float scale, float* y) {
  const int64_t pairs = head.key_dim / 2;
  for (int64_t i = 0; i < pairs; ++i) {
    y[i] = scale * (x[i] * head.cosines[i] - x[i + pairs] * head.sines[i]);
    y[i + pairs] = scale * (x[i] * head.sines[i] + x[i + pairs] * head.cosines[i]);
  }
}

void Step(const RecurrentHead& head) {
  float* q = head.rotated;
  float* k = head.rotated + head.key_dim;
  Rotate(head.q, head, static_cast<float>(1 / std::sqrt(head.key_dim)), q);
  Rotate(head.k, head, 1.0f, k);
  const Tag d;
  const auto decay = hn::Set(d, head.decay);
  float* state = head.state;
  for (int64_t column = 0; column < head.value_dim; column += kVectors * kLanes) {
    hn::Vec<Tag> v[kVectors];
    hn::Vec<Tag> o[kVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      v[j] = hn::LoadU(d, head.v + column + j * kLanes);
      o[j] = hn::Zero(d);
    }
    for (int64_t i = 0; i < head.key_dim; ++i, state += kVectors * kLanes) {
      const auto query = hn::Set(d, q[i]);
      const auto key = hn::Set(d, k[i]);
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) {
        const auto old = hn::LoadU(d, state + j * kLanes);
        const auto s = hn::MulAdd(decay, old, hn::Mul(key, v[j]));
        hn::StoreU(s, d, state + j * kLanes);
        o[j] = hn::MulAdd(query, s, o[j]);
      }
    }
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) hn::StoreU(o[j], d, head.out + column + j * kLanes);
  }
}

RecurrentStep MakeStep() { return Step; }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace retnet
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retnet {

RecurrentStep RecurrentStepFor(cpu::InstructionSet set) {
  return RETNET_FOR_INSTRUCTION_SET(set, MakeStep);
}

}  // namespace retnet
#endif  // HWY_ONCE
