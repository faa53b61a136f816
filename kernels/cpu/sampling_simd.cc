#include "kernels/cpu/sampling_simd.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/ceil_divide.h"
#include "kernels/cpu/targets-inl.h"
#include "kernels/philox.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/sampling_simd.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h:
#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace retnet::cpu {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using Words = hn::RebindToUnsigned<Floats>;
using Integers = hn::RebindToSigned<Floats>;
using Vector = hn::Vec<Floats>;

// The number of tokens whose random words are generated together.
constexpr int64_t kGroup = std::max<int64_t>(4, 2 * hn::MaxLanes(Floats()));
static_assert(kLogitsPadding % kGroup == 0);

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

float Greatest(const float* logits, int64_t size) {
  const Floats d;
  Vector greatest = hn::Load(d, logits);
  for (int64_t i = hn::Lanes(d); i < size; i += hn::Lanes(d)) {
    greatest = hn::Max(greatest, hn::Load(d, logits + i));
  }
  return hn::GetLane(hn::MaxOfLanes(d, greatest));
}

// A number times zero is zero if it is finite, else NaN, which stays in a sum.
float Copy(const float* from, int64_t columns, float* to) {
  const Floats d;
  const int64_t lanes = hn::Lanes(d);
  Vector zeros = hn::Zero(d);
  int64_t i = 0;
  for (; i + lanes <= columns; i += lanes) {
    const Vector logits = hn::LoadU(d, from + i);
    hn::Store(logits, d, to + i);
    zeros = hn::MulAdd(logits, hn::Zero(d), zeros);
  }
  float zero = hn::GetLane(hn::SumOfLanes(d, zeros));
  for (; i < columns; ++i) {
    to[i] = from[i];
    zero += from[i] * 0.0f;
  }
  const int64_t size = RoundUp(columns, kLogitsPadding);
  std::fill(to + columns, to + size, kMinusInfinity);
  return std::isnan(zero) ? zero : Greatest(to, size);
}

int64_t CountAtLeast(const float* logits, int64_t size, float bound) {
  const Floats d;
  const Integers di;
  hn::Vec<Integers> count = hn::Zero(di);
  for (int64_t i = 0; i < size; i += hn::Lanes(d)) {
    const auto reaches = hn::Ge(hn::Load(d, logits + i), hn::Set(d, bound));
    count = hn::Sub(count, hn::BitCast(di, hn::VecFromMask(d, reaches)));  // true lanes are −1
  }
  return hn::GetLane(hn::SumOfLanes(di, count));
}

int64_t CollectAtLeast(const float* logits, int64_t size, float bound, TokenId* tokens) {
  const Floats d;
  const Integers di;
  int64_t count = 0;
  for (int64_t i = 0; i < size; i += hn::Lanes(d)) {
    const auto reaches = hn::Ge(hn::Load(d, logits + i), hn::Set(d, bound));
    if (hn::AllFalse(d, reaches)) continue;
    count += hn::CompressStore(hn::Iota(di, static_cast<int32_t>(i)), hn::RebindMask(di, reaches),
                               di, tokens + count);
  }
  return count;
}

double SumOfExponentials(const float* logits, int64_t size, float greatest, float temperature) {
  constexpr int64_t kBlock = 1024;
  const Floats d;
  double total = 0;
  for (int64_t first = 0; first < size; first += kBlock) {
    Vector sum = hn::Zero(d);
    for (int64_t i = first; i < std::min(first + kBlock, size); i += hn::Lanes(d)) {
      const Vector z =
          hn::Div(hn::Sub(hn::Load(d, logits + i), hn::Set(d, greatest)), hn::Set(d, temperature));
      sum = hn::Add(sum, hn::Exp(d, hn::Max(z, hn::Set(d, -200.0f))));  // e⁻²⁰⁰ is 0 in fp32
    }
    total += hn::GetLane(hn::SumOfLanes(d, sum));
  }
  return total;
}

// Writes the random words of kGroup tokens, in the order of the tokens. `first_token` must be a
// multiple of kGroup.
#if HWY_TARGET == HWY_SCALAR
void RandomWords(uint64_t seed, uint64_t draw, int64_t first_token, uint32_t* words) {
  for (int64_t i = 0; i < kGroup; ++i) {
    words[i] = RandomWord(seed, draw, static_cast<TokenId>(first_token + i));
  }
}
#else
// Philox4x32-10. Each 64-bit lane computes one block of 4 tokens, in its lower half. The upper
// halves hold garbage.
void RandomWords(uint64_t seed, uint64_t draw, int64_t first_token, uint32_t* words) {
  using WideWords = hn::Repartition<uint64_t, Words>;
  const Words d;
  const WideWords wide;
  using Wide = hn::Vec<WideWords>;
  const auto set = [&](uint64_t word) { return hn::Set(wide, word & 0xFFFFFFFFu); };
  const auto product = [&](Wide a, uint32_t b) {
    return hn::MulEven(hn::BitCast(d, a), hn::Set(d, b));
  };
  Wide counter0 = hn::Iota(wide, static_cast<uint64_t>(first_token / 4));
  Wide counter1 = set(draw);
  Wide counter2 = set(draw >> 32);
  Wide counter3 = hn::Zero(wide);
  uint32_t key0 = static_cast<uint32_t>(seed);
  uint32_t key1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const Wide product0 = product(counter0, kPhiloxMultiplier0);
    const Wide product1 = product(counter2, kPhiloxMultiplier1);
    counter0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(product1), counter1), set(key0));
    counter2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(product0), counter3), set(key1));
    counter1 = product1;
    counter3 = product0;
    key0 += kPhiloxKeyStep0;
    key1 += kPhiloxKeyStep1;
  }
  const Wide low = set(~uint64_t{0});
  hn::StoreInterleaved2(hn::Or(hn::And(counter0, low), hn::ShiftLeft<32>(counter1)),
                        hn::Or(hn::And(counter2, low), hn::ShiftLeft<32>(counter3)), wide,
                        reinterpret_cast<uint64_t*>(words));
}
#endif

// (x + ½) · 2⁻³², rounded once.
Vector Uniform(hn::Vec<Words> words) {
  const Floats d;
  const Integers di;
  const auto upper = hn::ConvertTo(d, hn::BitCast(di, hn::ShiftRight<16>(words)));
  const auto lower = hn::ConvertTo(d, hn::BitCast(di, hn::And(words, hn::Set(Words(), 0xFFFFu))));
  return hn::MulAdd(upper, hn::Set(d, 0x1p-16f),
                    hn::Mul(hn::Add(lower, hn::Set(d, 0.5f)), hn::Set(d, 0x1p-32f)));
}

// The Gumbel noise in fp32. −ln u = ln(1 + (1 − u) / u) keeps its relative precision for u near 0
// and near 1.
Vector Noise(hn::Vec<Words> words) {
  const Floats d;
  const Vector odds = hn::Div(Uniform(hn::Not(words)), Uniform(words));
  return hn::Neg(hn::Log(d, hn::Log1p(d, odds)));
}

// The best token so far. Every deciding comparison is in double.
struct Best {
  TokenId token;
  double score;

  void Offer(const float* logits, float greatest, TokenId other, const Sampling& sampling) {
    if (!IsLikelyEnough(logits[other], greatest, sampling)) return;
    const double other_score = GumbelScore(logits[other], greatest, other, sampling);
    if (other_score > score || (other_score == score && other < token)) {
      token = other;
      score = other_score;
    }
  }
};

TokenId Sample(const float* logits, int64_t size, TokenId first, const Sampling& sampling) {
  // Exceeds the fp32 error of z + g for every token that can win; |z| < 30 for these.
  constexpr float kSlack = 1e-3f;
  const Floats d;
  const Integers di;
  const int64_t lanes = hn::Lanes(d);
  const float greatest = logits[first];
  const auto scaled = [&](int64_t i) HWY_ATTR {
    return hn::Div(hn::Sub(hn::Load(d, logits + i), hn::Set(d, greatest)),
                   hn::Set(d, sampling.temperature));
  };
  const Vector least_z = hn::Set(d, std::log(sampling.min_p) - kSlack);
  Best best{first, GumbelScore(greatest, greatest, first, sampling)};
  HWY_ALIGN uint32_t words[kGroup];
  HWY_ALIGN TokenId tokens[hn::MaxLanes(Floats())];
  for (int64_t group = 0; group < size; group += kGroup) {
    const Vector needed = hn::Set(d, static_cast<float>(best.score) - kSlack);
    const Vector needed_z =
        hn::Max(least_z, hn::Sub(needed, hn::Set(d, static_cast<float>(kGreatestGumbelNoise))));
    auto reaches = hn::Ge(scaled(group), needed_z);
    for (int64_t i = group + lanes; i < group + kGroup; i += lanes) {
      reaches = hn::Or(reaches, hn::Ge(scaled(i), needed_z));
    }
    if (hn::AllFalse(d, reaches)) continue;
    RandomWords(sampling.seed, sampling.draw, group, words);
    for (int64_t i = group; i < group + kGroup; i += lanes) {
      const Vector z = scaled(i);
      const Vector score = hn::Add(z, Noise(hn::Load(Words(), words + (i - group))));
      const auto candidates = hn::And(hn::Ge(score, needed), hn::Ge(z, least_z));
      if (hn::AllFalse(d, candidates)) continue;
      const int64_t count = hn::CompressStore(hn::Iota(di, static_cast<int32_t>(i)),
                                              hn::RebindMask(di, candidates), di, tokens);
      for (int64_t c = 0; c < count; ++c) best.Offer(logits, greatest, tokens[c], sampling);
    }
  }
  return best.token;
}

SamplingSimd MakeSamplingSimd() {
  return {Copy, Greatest, CountAtLeast, CollectAtLeast, SumOfExponentials, Sample};
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace retnet::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace retnet::cpu {

SamplingSimd SamplingSimdFor(InstructionSet set) {
  return RETNET_FOR_INSTRUCTION_SET(set, MakeSamplingSimd);
}

}  // namespace retnet::cpu
#endif
