#include "kernels/reference/retention_forms.h"

#include <cstdint>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace retnet {
namespace {

std::vector<double> Normal(int64_t size, std::mt19937& random) {
  std::normal_distribution<double> normal;
  std::vector<double> values(size);
  for (double& value : values) value = normal(random);
  return values;
}

void ExpectNear(const std::vector<double>& a, const std::vector<double>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 1e-11) << i;
}

TEST(RetentionForms, AreOneFunction) {
  std::mt19937 random(1);
  for (int32_t tokens : {1, 2, 63, 64, 65, 150}) {
    HeadTokens head{tokens, 6, 5, 1 - 1.0 / 32, {}, {}, {}};
    head.q = Normal(tokens * head.key_dim, random);
    head.k = Normal(tokens * head.key_dim, random);
    head.v = Normal(tokens * head.value_dim, random);
    const std::vector<double> parallel = ParallelRetention(head);
    ExpectNear(RecurrentRetention(head), parallel);
    for (int32_t chunk : {1, 7, 64, 200}) ExpectNear(ChunkwiseRetention(head, chunk), parallel);
  }
}

TEST(RetentionForms, WeighEachTokenByItsAge) {
  const HeadTokens head{3, 1, 1, 0.5, {1, 1, 2}, {1, 3, 1}, {1, 1, 4}};
  // o_2 = 2 · (0.25 · 1 · 1 + 0.5 · 3 · 1 + 1 · 1 · 4).
  const std::vector<double> expected = {1, 3.5, 11.5};
  ExpectNear(ParallelRetention(head), expected);
}

}  // namespace
}  // namespace retnet
