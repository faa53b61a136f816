// Integer, floating point, conversion and bit instructions.
#include "check.h"

constexpr int N = 256;

__global__ void ints(const int* a, const int* b, int* o) {
  const int i = threadIdx.x, x = a[i], y = b[i];
  const unsigned ux = x, uy = y;
  int k = 0;
  auto put = [&](int v) { o[i * 40 + k++] = v; };
  put(x + y);
  put(x - y);
  put(x * y);
  put(__mulhi(x, y));
  put(__umulhi(ux, uy));
  put(y ? x / y : 0);
  put(y ? x % y : 0);
  put(uy ? ux / uy : 0);
  put(uy ? ux % uy : 0);
  put(min(x, y));
  put(max(x, y));
  put(abs(x));
  put(x & y);
  put(x | y);
  put(x ^ y);
  put(~x);
  put(x << (y & 31));
  put(x >> (y & 31));
  put(ux >> (y & 31));
  put(__popc(x));
  put(__clz(x));
  put(__ffs(x));
  put(__brev(x));
  put(__byte_perm(x, y, 0x2514));
  put(__funnelshift_l(x, y, y & 31));
  put(__funnelshift_r(x, y, y & 31));
  put(__mul24(x, y));
  put(__umul24(x, y));
  put(__sad(x, y, 7));
  put(__usad(ux, uy, 7u));
  put(__dp4a(x, y, 5));
  put(__dp4a(ux, uy, 5u));
  put(__dp2a_lo(x, y, 5));
  put(__dp2a_hi(ux, uy, 5u));
  put((ux >> 5) & 0x3ff);
  put((x << 12) >> 20);
}
static int h_sext24(int v) { return (int)((unsigned)v << 8) >> 8; }
static void test_ints() {
  Array<int> a(N), b(N), o(N * 40);
  for (int i = 0; i < N; ++i) {
    a[i] = (int)(noise(i) * 2.1e9f);
    b[i] = i % 3 ? (int)(noise(i + 1000) * 2.1e9f) : (int)(noise(i + 7) * 100) | 1;
  }
  a.up();
  b.up();
  ints<<<1, N>>>(a, b, o);
  LAUNCHED();
  o.down();
  for (int i = 0; i < N; ++i) {
    const int x = a[i], y = b[i];
    const unsigned ux = x, uy = y;
    int k = 0;
    auto want = [&](int v) {
      EQUAL_I(i * 100 + k, o[i * 40 + k], v);
      ++k;
    };
    want((int)(ux + uy));
    want((int)(ux - uy));
    want((int)(ux * uy));
    want((int)(((long long)x * y) >> 32));
    want((int)(((unsigned long long)ux * uy) >> 32));
    want(y ? x / y : 0);
    want(y ? x % y : 0);
    want(uy ? ux / uy : 0);
    want(uy ? ux % uy : 0);
    want(x < y ? x : y);
    want(x > y ? x : y);
    want(abs(x));
    want(x & y);
    want(x | y);
    want(x ^ y);
    want(~x);
    want((int)(ux << (y & 31)));
    want(x >> (y & 31));
    want((int)(ux >> (y & 31)));
    want(__builtin_popcount(ux));
    want(x ? __builtin_clz(ux) : 32);
    want(__builtin_ffs(x));
    unsigned r = 0;
    for (int j = 0; j < 32; ++j) r |= (ux >> j & 1) << (31 - j);
    want((int)r);
    const unsigned long long both = (unsigned long long)uy << 32 | ux;
    unsigned p = 0;
    const int sel[4] = {4, 1, 5, 2};
    for (int j = 0; j < 4; ++j) p |= (unsigned)(both >> (8 * sel[j]) & 255) << (8 * j);
    want((int)p);
    want((int)((both << (y & 31)) >> 32));
    want((int)(both >> (y & 31)));
    want((int)((long long)h_sext24(x) * h_sext24(y)));
    want((int)((ux & 0xffffff) * (uy & 0xffffff)));
    want((int)((x > y ? ux - uy : uy - ux) + 7));
    want((int)((ux > uy ? ux - uy : uy - ux) + 7));
    int d = 5;
    unsigned ud = 5;
    int d2 = 5;
    unsigned ud2 = 5;
    for (int j = 0; j < 4; ++j)
      d += (int8_t)(x >> 8 * j) * (int8_t)(y >> 8 * j),
          ud += (uint8_t)(ux >> 8 * j) * (uint8_t)(uy >> 8 * j);
    for (int j = 0; j < 2; ++j)
      d2 += (int16_t)(x >> 16 * j) * (int8_t)(y >> 8 * j),
          ud2 += (uint16_t)(ux >> 16 * j) * (uint8_t)(uy >> 8 * (j + 2));
    want(d);
    want((int)ud);
    want(d2);
    want((int)ud2);
    want((ux >> 5) & 0x3ff);
    want((int)(ux << 12) >> 20);
  }
}

__global__ void wide(const long long* a, const long long* b, long long* o) {
  const int i = threadIdx.x;
  const long long x = a[i], y = b[i];
  const unsigned long long ux = x, uy = y;
  int k = 0;
  auto put = [&](long long v) { o[i * 20 + k++] = v; };
  put(x + y);
  put(x * y);
  put(y ? x / y : 0);
  put(y ? x % y : 0);
  put(uy ? ux / uy : 0);
  put(__mul64hi(x, y));
  put(__umul64hi(ux, uy));
  put(x >> (y & 63));
  put(ux >> (y & 63));
  put(__popcll(x));
  put(__clzll(x));
  put(__ffsll(x));
  put(__brevll(x));
  const unsigned __int128 p = (unsigned __int128)ux * uy + ux,
                          q = p - ((unsigned __int128)uy << 70);
  put((long long)p);
  put((long long)(p >> 64));
  put((long long)q);
  put((long long)(q >> 64));
  put((long long)(p >> 37));
}
static void test_wide() {
  Array<long long> a(N), b(N), o(N * 20);
  for (int i = 0; i < N; ++i)
    a[i] = (long long)(noise(i) * 9e18),
    b[i] = i % 4 ? (long long)(noise(i + 99) * 9e18) : (long long)(noise(i) * 1e6);
  a.up();
  b.up();
  wide<<<1, N>>>(a, b, o);
  LAUNCHED();
  o.down();
  for (int i = 0; i < N; ++i) {
    const long long x = a[i], y = b[i];
    const unsigned long long ux = x, uy = y;
    int k = 0;
    auto want = [&](long long v) {
      EQUAL_I(i * 100 + k, o[i * 20 + k], v);
      ++k;
    };
    want(ux + uy);
    want(ux * uy);
    want(y ? x / y : 0);
    want(y ? x % y : 0);
    want(uy ? ux / uy : 0);
    want((long long)(((__int128)x * y) >> 64));
    want((long long)(((unsigned __int128)ux * uy) >> 64));
    want(x >> (y & 63));
    want(ux >> (y & 63));
    want(__builtin_popcountll(x));
    want(x ? __builtin_clzll(x) : 64);
    want(__builtin_ffsll(x));
    unsigned long long r = 0;
    for (int j = 0; j < 64; ++j) r |= (ux >> j & 1) << (63 - j);
    want(r);
    const unsigned __int128 p = (unsigned __int128)ux * uy + ux,
                            q = p - ((unsigned __int128)uy << 70);
    want((long long)p);
    want((long long)(p >> 64));
    want((long long)q);
    want((long long)(q >> 64));
    want((long long)(p >> 37));
  }
}

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

// Conversions, including saturation and NaN.
__global__ void convert(const float* a, long long* o) {
  const int i = threadIdx.x;
  const float x = a[i];
  int k = 0;
  auto put = [&](long long v) { o[i * 24 + k++] = v; };
  put((int)x);
  put(__float2int_rn(x));
  put(__float2int_rd(x));
  put(__float2int_ru(x));
  put(__float2uint_rz(x));
  put(__float2ll_rn(x));
  put((unsigned char)(int)x);
  put((signed char)(int)x);
  put((short)(int)x);
  put(__float_as_int(x));
  put(__half_as_ushort(__float2half(x)));
  put(__bfloat16_as_ushort(__float2bfloat16(x)));
  put(__bfloat16_as_ushort(__float2bfloat16_rz(x)));
  put(__half_as_ushort(__float2half_rz(x)));
  put(__half2int_rn(__float2half(x)));
  put(__bfloat16_as_ushort(__int2bfloat16_rn((int)x)));
  put(__half_as_ushort(__int2half_rn((int)x)));
  put(__float_as_int(__half2float(__float2half(x))));
  put(__float_as_int(__bfloat162float(__float2bfloat16(x))));
  put(__double2int_rn((double)x * 3));
  put(__float_as_int((float)(unsigned)(i * 77777777u)));
  put(__float_as_int(__int2float_rz(i * 77777777)));
  put(__half_as_ushort(__float2half_ru(x)));
}
static void test_convert() {
  Array<float> a(N);
  Array<long long> o(N * 24);
  for (int i = 0; i < N; ++i) a[i] = noise(i) * std::pow(10.0f, (float)(i % 13) - 4);
  a[0] = 3e9f;
  a[1] = -3e9f;
  a[2] = 65519.9f;
  a[3] = 65520.0f;
  a[4] = 6e-8f;
  a[5] = 2.5f;
  a[6] = -2.5f;
  a[7] = 1e-30f;
  a[8] = 3.5f;
  a.up();
  convert<<<1, N>>>(a, o);
  LAUNCHED();
  o.down();
  auto clampll = [](double v, double lo, double hi) {
    return (long long)(v < lo ? lo : v > hi ? hi : v);
  };
  for (int i = 0; i < N; ++i) {
    const float x = a[i];
    int k = 0;
    auto want = [&](long long v) {
      EQUAL_I(i * 100 + k, o[i * 24 + k], v);
      ++k;
    };
    const int xi = (int)clampll(std::trunc(x), -2147483648.0, 2147483647.0);
    want(xi);
    want((int)clampll(std::nearbyint(x), -2147483648.0, 2147483647.0));
    want((int)clampll(std::floor(x), -2147483648.0, 2147483647.0));
    want((int)clampll(std::ceil(x), -2147483648.0, 2147483647.0));
    want((unsigned)clampll(std::trunc(x), 0, 4294967295.0));
    want((long long)std::nearbyint(x));
    want((unsigned char)xi);
    want((signed char)xi);
    want((short)xi);
    int bits;
    memcpy(&bits, &x, 4);
    want(bits);
    want(__half_as_ushort(__float2half(x)));
    want(__bfloat16_as_ushort(__float2bfloat16(x)));
    want(__bfloat16_as_ushort(__float2bfloat16_rz(x)));
    want(__half_as_ushort(__float2half_rz(x)));
    const float hf = __half2float(__float2half(x));
    want(hf != hf ? 0
                  : (int)clampll(std::nearbyint(std::isinf(hf) ? std::copysign(1e30, hf) : hf),
                                 -2147483648.0, 2147483647.0));
    want(__bfloat16_as_ushort(__int2bfloat16_rn(xi)));
    want(__half_as_ushort(__int2half_rn(xi)));
    float f = hf;
    memcpy(&bits, &f, 4);
    want(bits);
    f = __bfloat162float(__float2bfloat16(x));
    memcpy(&bits, &f, 4);
    want(bits);
    want((int)clampll(std::nearbyint((double)x * 3), -2147483648.0, 2147483647.0));
    f = (float)(unsigned)(i * 77777777u);
    memcpy(&bits, &f, 4);
    want(bits);
    const int v = (int)(i * 77777777u);
    f = (float)v;
    if ((f > 0 && (double)f > v) || (f < 0 && (double)f < v)) f = std::nextafterf(f, 0);
    memcpy(&bits, &f, 4);
    want(bits);
    want(__half_as_ushort(__float2half_ru(x)));
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
  test_ints();
  test_wide();
  test_floats();
  test_directed();
  test_doubles();
  test_convert();
  test_halves<__half>(2e-3);
#ifdef WITH_BF16
  test_halves<__nv_bfloat16>(1e-2);
#endif
  return finish("arith");
}
