// -use_fast_math: approximate instructions and flush-to-zero.
#include "check.h"
__global__ void fast(const float* x, float* o) {
  const int i = threadIdx.x;
  const float v = x[i], p = fabsf(v) + 0.1f;
  float* r = o + i * 16;
  r[0] = expf(v);
  r[1] = logf(p);
  r[2] = sinf(v);
  r[3] = cosf(v);
  r[4] = v / p;
  r[5] = sqrtf(p);
  r[6] = rsqrtf(p);
  r[7] = powf(p, v);
  r[8] = tanhf(v);
  r[9] = exp2f(v);
  r[10] = log2f(p);
  r[11] = 1.0f / p;
  r[12] = log10f(p);
  r[13] = exp10f(v);
  r[14] = (v * 1e-38f) * 1e-3f;  // subnormal: flushed
  r[15] = __fdividef(v, p) + tanf(v) * 0.f;
}
int main() {
  constexpr int N = 256;
  Array<float> x(N), o(N * 16);
  for (int i = 0; i < N; ++i) x[i] = noise(i) * 2;
  x.up();
  fast<<<1, N>>>(x, o);
  LAUNCHED();
  o.down();
  for (int i = 0; i < N; ++i) {
    const double v = x[i], p = std::fabs(x[i]) + 0.1f;
    const double want[16] = {exp(v),      log(p),     sin(v),  cos(v),  v / p,   sqrt(p),
                             1 / sqrt(p), pow(p, v),  tanh(v), exp2(v), log2(p), 1 / p,
                             log10(p),    pow(10, v), 0,       v / p};
    for (int k = 0; k < 16; ++k) NEAR_I(i * 100 + k, o[i * 16 + k], want[k], 2e-5);
    CHECK(o[i * 16 + 14] == 0);
  }
  return finish("fastmath");
}
