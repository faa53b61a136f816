// Floating point: fp32, fp64, directed rounding, and 16-bit formats.
#include "check.h"

constexpr int N = 256;

__global__ void floats(const float* a, const float* b, float* o) {
  const int i = threadIdx.x;
  const float x = a[i], y = b[i], px = fabsf(x) + 0.1f;
  int k = 0;
  auto put = [&](float v) { o[i * 64 + k++] = v; };
  put(x + y);
  put(x * y);
  put(fmaf(x, y, x));
  put(x / y);
  put(sqrtf(px));
  put(rsqrtf(px));
  put(1.0f / x);
  put(expf(x));
  put(exp2f(x));
  put(logf(px));
  put(log2f(px));
  put(log1pf(px));
  put(expm1f(x));
  put(sinf(x * 10));
  put(cosf(x * 10));
  put(tanhf(x));
  put(tanf(x));
  put(powf(px, y));
  put(erff(x));
  put(atan2f(x, y));
  put(fmodf(x * 100, 3.7f));
  put(cbrtf(x));
  put(hypotf(x, y));
  put(asinf(x));
  put(acosf(x));
  put(floorf(x * 9));
  put(ceilf(x * 9));
  put(truncf(x * 9));
  put(rintf(x * 9));
  put(roundf(x * 9));
  put(fminf(x, y));
  put(fmaxf(x, y));
  put(fabsf(x));
  put(copysignf(x, y));
  put(__expf(x));
  put(exp10f(x));
  put(__logf(px));
  put(__log2f(px));
  put(__sinf(x));
  put(__cosf(x));
  put(__tanf(x));
  put(__powf(px, y));
  put(__fdividef(x, y));
  put(__frcp_rn(x));
  put(__fsqrt_rn(px));
  put(__frsqrt_rn(px));
  put(__saturatef(x * 2));
  put(__fadd_rz(x, y));
  put(__fmul_ru(x, y));
  put(__fmaf_rd(x, y, x));
  put(__fdiv_rz(x, y));
  put(lgammaf(px));
  put(sinpif(x));
  put(normcdff(x));
  put(ldexpf(x, 5));
}
static void test_floats() {
  Array<float> a(N), b(N), o(N * 64);
  for (int i = 0; i < N; ++i)
    a[i] = noise(i) * 0.999f, b[i] = noise(i + 5000) + (noise(i + 5000) < 0 ? -0.05f : 0.05f);
  a.up();
  b.up();
  floats<<<1, N>>>(a, b, o);
  LAUNCHED();
  o.down();
  for (int i = 0; i < N; ++i) {
    const double x = a[i], y = b[i], px = std::fabs(a[i]) + 0.1f;
    int k = 0;
    auto want = [&](double v, double tol = 4e-6) {
      NEAR_I(i * 100 + k, o[i * 64 + k], v, tol);
      ++k;
    };
    want(x + y);
    want(x * y);
    want(x * y + x);
    want(x / y);
    want(sqrt(px));
    want(1 / sqrt(px));
    want(1 / x, 1e-5);
    want(exp(x));
    want(exp2(x));
    want(log(px));
    want(log2(px));
    want(log1p(px));
    want(expm1(x));
    want(sin((double)(a[i] * 10.0f)), 2e-5);
    want(cos((double)(a[i] * 10.0f)), 2e-5);
    want(tanh(x));
    want(tan(x), 2e-5);
    want(pow(px, y));
    want(erf(x));
    want(atan2(x, y));
    want(fmodf(a[i] * 100, 3.7f), 1e-4);
    want(cbrt(x));
    want(hypot(x, y));
    want(asin(x), 1e-5);
    want(acos(x), 1e-5);
    const float x9 = a[i] * 9;
    want(floorf(x9));
    want(ceilf(x9));
    want(truncf(x9));
    want(rintf(x9));
    want(roundf(x9));
    want(fmin(x, y));
    want(fmax(x, y));
    want(fabs(x));
    want(copysign(x, y));
    want(exp(x), 1e-5);
    want(pow(10, x), 1e-5);
    want(log(px), 1e-5);
    want(log2(px), 1e-5);
    want(sin(x), 1e-5);
    want(cos(x), 1e-5);
    want(tan(x), 1e-4);
    want(pow(px, y), 1e-5);
    want(x / y, 1e-5);
    want(1 / x, 1e-5);
    want(sqrt(px));
    want(1 / sqrt(px));
    want(x * 2 > 1 ? 1 : x < 0 ? 0 : x * 2);
    want(x + y);
    want(x * y);
    want(x * y + x);
    want(x / y);
    want(lgamma(px), 1e-4);
    want(sin(M_PI * x), 1e-5);
    want(0.5 * erfc(-x / sqrt(2.0)), 1e-5);
    want(x * 32);
  }
}

// Exact rounding: directed modes bracket the exact value.
__global__ void directed(const float* a, const float* b, float* o) {
  const int i = threadIdx.x;
  const float x = a[i], y = b[i];
  o[i * 12 + 0] = __fadd_rd(x, y);
  o[i * 12 + 1] = __fadd_ru(x, y);
  o[i * 12 + 2] = __fmul_rd(x, y);
  o[i * 12 + 3] = __fmul_ru(x, y);
  o[i * 12 + 4] = __fdiv_rd(x, y);
  o[i * 12 + 5] = __fdiv_ru(x, y);
  o[i * 12 + 6] = __double2float_rd((double)x * y);
  o[i * 12 + 7] = __double2float_ru((double)x * y);
  o[i * 12 + 8] = __ll2float_rd((long long)(x * 1e15));
  o[i * 12 + 9] = __ll2float_ru((long long)(x * 1e15));
  o[i * 12 + 10] = __fsqrt_rd(x * x + 1);
  o[i * 12 + 11] = __fsqrt_ru(x * x + 1);
}
static void test_directed() {
  Array<float> a(N), b(N), o(N * 12);
  for (int i = 0; i < N; ++i) a[i] = noise(i) + 1e-3f, b[i] = noise(i + 31) * 3 + 1e-3f;
  a.up();
  b.up();
  directed<<<1, N>>>(a, b, o);
  LAUNCHED();
  o.down();
  for (int i = 0; i < N; ++i) {
    const long double x = a[i], y = b[i];
    const long double exact[3] = {x + y, x * y, x / y};
    for (int k = 0; k < 3; ++k) {
      CHECK(o[i * 12 + 2 * k] <= exact[k] && exact[k] <= o[i * 12 + 2 * k + 1]);
      CHECK(o[i * 12 + 2 * k + 1] == o[i * 12 + 2 * k] ||
            std::nextafterf(o[i * 12 + 2 * k], INFINITY) == o[i * 12 + 2 * k + 1]);
    }
    CHECK(o[i * 12 + 6] <= exact[1] && exact[1] <= o[i * 12 + 7]);
    CHECK(o[i * 12 + 8] <= o[i * 12 + 9]);
    CHECK(o[i * 12 + 10] <= o[i * 12 + 11]);
  }
}

__global__ void doubles(const double* a, double* o) {
  const int i = threadIdx.x;
  const double x = a[i];
  int k = 0;
  auto put = [&](double v) { o[i * 12 + k++] = v; };
  put(x * 1.1 + 2);
  put(sqrt(x * x + 1));
  put(exp(x));
  put(log(x * x + 1));
  put(sin(x));
  put(pow(x * x + 1, 0.3));
  put(x / 3);
  put(fmax(x, 0.1));
  put(tanh(x));
  put((float)x);
  put(__dadd_rn(x, 1));
  put(fma(x, x, x));
}
static void test_doubles() {
  Array<double> a(N), o(N * 12);
  for (int i = 0; i < N; ++i) a[i] = noise(i) * 3;
  a.up();
  doubles<<<1, N>>>(a, o);
  LAUNCHED();
  o.down();
  for (int i = 0; i < N; ++i) {
    const double x = a[i];
    const double want[12] = {
        x * 1.1 + 2, sqrt(x * x + 1), exp(x),  log(x * x + 1), sin(x), pow(x * x + 1, 0.3),
        x / 3,       fmax(x, 0.1),    tanh(x), (float)x,       x + 1,  fma(x, x, x)};
    for (int k = 0; k < 12; ++k) NEAR_I(i * 100 + k, o[i * 12 + k], want[k], k == 9 ? 1e-7 : 1e-13);
  }
}

// Packed and scalar 16-bit arithmetic; the reference rounds the exact result once.
template <class T>
struct Half;
template <>
struct Half<__half> {
  static __half of(double v) { return __double2half(v); }
  static double to(__half h) { return __half2float(h); }
  using Pair = __half2;
};
template <>
struct Half<__nv_bfloat16> {
  static __nv_bfloat16 of(double v) { return __double2bfloat16(v); }
  static double to(__nv_bfloat16 h) { return __bfloat162float(h); }
  using Pair = __nv_bfloat162;
};

template <class T, class P>
__global__ void halves(const T* a, const T* b, T* o, float* f) {
  const int i = threadIdx.x;
  const T x = a[i], y = b[i];
  P p;
  p.x = x;
  p.y = y;
  P q;
  q.x = y;
  q.y = x;
  int k = 0;
  auto put = [&](T v) { o[i * 32 + k++] = v; };
  put(__hadd(x, y));
  put(__hsub(x, y));
  put(__hmul(x, y));
  put(__hfma(x, y, x));
  put(__hneg(x));
  put(__habs(x));
  put(__hmin(x, y));
  put(__hmax(x, y));
  put(__hfma_relu(x, y, y));
  P r = __hadd2(p, q);
  put(r.x);
  put(r.y);
  r = __hmul2(p, q);
  put(r.x);
  put(r.y);
  r = __hfma2(p, q, p);
  put(r.x);
  put(r.y);
  r = __hsub2(p, q);
  put(r.x);
  put(r.y);
  r = __hmax2(p, q);
  put(r.x);
  put(r.y);
  r = __hmin2(p, q);
  put(r.x);
  put(r.y);
  r = __habs2(p);
  put(r.x);
  put(r.y);
  put(hexp(x));
  put(hsqrt(__habs(x)));
  put(htanh(x));
  f[i * 6 + 0] = __heq(x, y);
  f[i * 6 + 1] = __hlt(x, y);
  f[i * 6 + 2] = __hgt(x, y);
  f[i * 6 + 3] = __hbeq2(p, p);
  f[i * 6 + 4] = (float)__low2float(__hgt2(p, q));
  f[i * 6 + 5] = __hisnan(x);
}
template <class T>
static void test_halves(double eps) {
  using H = Half<T>;
  Array<T> a(N, H::of(0)), b(N, H::of(0)), o(N * 32, H::of(0));
  Array<float> f(N * 6);
  for (int i = 0; i < N; ++i)
    a[i] = H::of(noise(i) * 2), b[i] = i % 5 ? H::of(noise(i + 77) * 2) : a[i];
  a.up();
  b.up();
  halves<T, typename H::Pair><<<1, N>>>(a, b, o, f);
  LAUNCHED();
  o.down();
  f.down();
  for (int i = 0; i < N; ++i) {
    const double x = H::to(a[i]), y = H::to(b[i]);
    int k = 0;
    auto exact = [&](double v) {
      EQUAL_I(i * 100 + k, std::lrint(H::to(o[i * 32 + k]) * 1e9),
              std::lrint(H::to(H::of(v)) * 1e9));
      ++k;
    };
    auto close = [&](double v) {
      NEAR_I(i * 100 + k, H::to(o[i * 32 + k]), v, eps);
      ++k;
    };
    exact(x + y);
    exact(x - y);
    exact(x * y);
    exact(x * y + x);
    exact(-x);
    exact(fabs(x));
    exact(fmin(x, y));
    exact(fmax(x, y));
    exact(fmax(0, x * y + y));
    exact(x + y);
    exact(y + x);
    exact(x * y);
    exact(x * y);
    exact(x * y + x);
    exact(y * x + y);
    exact(x - y);
    exact(y - x);
    exact(fmax(x, y));
    exact(fmax(x, y));
    exact(fmin(x, y));
    exact(fmin(x, y));
    exact(fabs(x));
    exact(fabs(y));
    close(exp(x));
    close(sqrt(fabs(x)));
    close(tanh(x));
    EQUAL_I(i, f[i * 6 + 0], x == y);
    EQUAL_I(i, f[i * 6 + 1], x < y);
    EQUAL_I(i, f[i * 6 + 2], x > y);
    EQUAL_I(i, f[i * 6 + 3], 1);
    EQUAL_I(i, f[i * 6 + 4], x > y);
    EQUAL_I(i, f[i * 6 + 5], 0);
  }
}

int main() {
  test_floats();
  test_directed();
  test_doubles();
  test_halves<__half>(2e-3);
#ifdef WITH_BF16
  test_halves<__nv_bfloat16>(1e-2);
#endif
  return finish("floats");
}
