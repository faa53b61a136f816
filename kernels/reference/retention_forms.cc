#include "kernels/reference/retention_forms.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace retnet {
namespace {

double Dot(const double* a, const double* b, int32_t size) {
  double sum = 0;
  for (int32_t i = 0; i < size; ++i) sum += a[i] * b[i];
  return sum;
}

// o += scale · q S;   S is [key_dim, value_dim].
void AddProduct(const double* q, const std::vector<double>& state, double scale,
                const HeadTokens& head, double* o) {
  for (int32_t i = 0; i < head.key_dim; ++i) {
    for (int32_t column = 0; column < head.value_dim; ++column) {
      o[column] += scale * q[i] * state[i * head.value_dim + column];
    }
  }
}

// S = decay · S + scale · kᵀ v.
void Advance(double decay, double scale, const double* k, const double* v, const HeadTokens& head,
             std::vector<double>* state) {
  for (int32_t i = 0; i < head.key_dim; ++i) {
    for (int32_t column = 0; column < head.value_dim; ++column) {
      double& element = (*state)[i * head.value_dim + column];
      element = decay * element + scale * k[i] * v[column];
    }
  }
}

}  // namespace

std::vector<double> ParallelRetention(const HeadTokens& head) {
  std::vector<double> o(head.tokens * head.value_dim, 0.0);
  for (int32_t n = 0; n < head.tokens; ++n) {
    for (int32_t m = 0; m <= n; ++m) {
      const double weight = std::pow(head.decay, n - m) *
                            Dot(&head.q[n * head.key_dim], &head.k[m * head.key_dim], head.key_dim);
      for (int32_t column = 0; column < head.value_dim; ++column) {
        o[n * head.value_dim + column] += weight * head.v[m * head.value_dim + column];
      }
    }
  }
  return o;
}

std::vector<double> RecurrentRetention(const HeadTokens& head) {
  std::vector<double> o(head.tokens * head.value_dim, 0.0);
  std::vector<double> state(head.key_dim * head.value_dim, 0.0);
  for (int32_t n = 0; n < head.tokens; ++n) {
    Advance(head.decay, 1, &head.k[n * head.key_dim], &head.v[n * head.value_dim], head, &state);
    AddProduct(&head.q[n * head.key_dim], state, 1, head, &o[n * head.value_dim]);
  }
  return o;
}

std::vector<double> ChunkwiseRetention(const HeadTokens& head, int32_t chunk) {
  std::vector<double> o(head.tokens * head.value_dim, 0.0);
  std::vector<double> state(head.key_dim * head.value_dim, 0.0);
  for (int32_t first = 0; first < head.tokens; first += chunk) {
    const int32_t size = std::min(chunk, head.tokens - first);
    const double* q = &head.q[first * head.key_dim];
    const double* k = &head.k[first * head.key_dim];
    const double* v = &head.v[first * head.value_dim];
    for (int32_t i = 0; i < size; ++i) {
      double* row = &o[(first + i) * head.value_dim];
      AddProduct(q + i * head.key_dim, state, std::pow(head.decay, i + 1), head, row);
      for (int32_t j = 0; j <= i; ++j) {
        const double product = Dot(q + i * head.key_dim, k + j * head.key_dim, head.key_dim);
        for (int32_t column = 0; column < head.value_dim; ++column) {
          row[column] += std::pow(head.decay, i - j) * product * v[j * head.value_dim + column];
        }
      }
    }
    for (double& element : state) element *= std::pow(head.decay, size);
    for (int32_t j = 0; j < size; ++j) {
      Advance(1, std::pow(head.decay, size - 1 - j), k + j * head.key_dim, v + j * head.value_dim,
              head, &state);
    }
  }
  return o;
}

}  // namespace retnet
