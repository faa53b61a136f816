// The inputs of one head for the forms of the textbook, and their results.
#ifndef RETNET_TESTS_KERNELS_RETENTION_TEXTBOOK_H_
#define RETNET_TESTS_KERNELS_RETENTION_TEXTBOOK_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <vector>

#include "kernels/kernels.h"
#include "kernels/reference/retention_forms.h"
#include "tests/kernels/retention_world.h"

namespace retnet {

// Computes the operator's outputs of one head of a text by the forms of the textbook.
class Textbook {
 public:
  // `round` is the rounding that a backend applies to k and v before their first use.
  Textbook(const RetentionShape& shape, uint32_t text, int32_t tokens, const WorldOptions& options,
           float (*round)(float))
      : shape_(shape),
        tokens_(tokens),
        options_(options),
        round_(round),
        projections_(Projections(shape, text, tokens)) {}

  HeadTokens Head(int32_t head) const {
    const int32_t kv_head = head / (shape_.heads / shape_.kv_heads);
    HeadTokens result{tokens_, shape_.key_dim, shape_.value_dim, Decays(shape_)[head], {}, {}, {}};
    for (int32_t token = 0; token < tokens_; ++token) {
      const float* q = Row(token) + head * shape_.key_dim;
      const float* k = Row(token) + (shape_.heads + kv_head) * shape_.key_dim;
      const float* v = Row(token) + (shape_.heads + shape_.kv_heads) * shape_.key_dim +
                       kv_head * shape_.value_dim;
      AppendRotated(q, token, 1 / std::sqrt(shape_.key_dim), &result.q);
      AppendRotated(k, token, 1, &result.k);
      std::transform(result.k.end() - shape_.key_dim, result.k.end(),
                     result.k.end() - shape_.key_dim, round_);
      std::transform(v, v + shape_.value_dim, std::back_inserter(result.v), round_);
    }
    return result;
  }

  // RMSNorm and gate of the head's retained rows, which torchscale divides by sqrt(Σ γ^j) before.
  std::vector<double> Finished(int32_t head, std::vector<double> o) const {
    const std::vector<float> weight = NormWeight(shape_);
    const std::vector<double> decay_sums = DecaySums(head);
    for (int32_t token = 0; token < tokens_; ++token) {
      double* row = &o[token * shape_.value_dim];
      double squares = 0;
      for (int32_t i = 0; options_.normalized && i < shape_.value_dim; ++i) {
        row[i] /= std::sqrt(decay_sums[token]);
      }
      for (int32_t i = 0; i < shape_.value_dim; ++i) squares += row[i] * row[i];
      const double scale = 1 / std::sqrt(squares / shape_.value_dim + kNormEpsilon);
      const float* gate = Row(token) + shape_.ProjectionColumns() - shape_.OutputColumns() +
                          head * shape_.value_dim;
      for (int32_t i = 0; i < shape_.value_dim; ++i) {
        row[i] *= scale * weight[i];
        if (shape_.gated) row[i] *= gate[i] / (1 + std::exp(-double{gate[i]}));
      }
    }
    return o;
  }

 private:
  // Σ γ^j over all positions up to each token's, added one by one.
  std::vector<double> DecaySums(int32_t head) const {
    const double gamma = Decays(shape_)[head];
    std::vector<double> sums;
    double sum = 0;
    double power = 1;
    for (int32_t position = 0; position < options_.first_position + tokens_; ++position) {
      sum += power;
      power *= gamma;
      if (position >= options_.first_position) sums.push_back(sum);
    }
    return sums;
  }
  const float* Row(int32_t token) const {
    return &projections_[token * shape_.ProjectionColumns()];
  }
  void AppendRotated(const float* x, int32_t token, double scale, std::vector<double>* to) const {
    const int32_t pairs = shape_.key_dim / 2;
    const std::vector<double> thetas = Thetas(shape_);
    for (int32_t i = 0; i < 2 * pairs; ++i) {
      const double angle = (options_.first_position + token) * thetas[i % pairs];
      const double rotated = i < pairs ? x[i] * std::cos(angle) - x[i + pairs] * std::sin(angle)
                                       : x[i - pairs] * std::sin(angle) + x[i] * std::cos(angle);
      to->push_back(rotated * scale);
    }
  }

  RetentionShape shape_;
  int32_t tokens_;
  WorldOptions options_;
  float (*round_)(float);
  std::vector<float> projections_;
};

}  // namespace retnet

#endif  // RETNET_TESTS_KERNELS_RETENTION_TEXTBOOK_H_
