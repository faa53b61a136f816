// Integer, bit and conversion instructions.
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

// Instructions that C++ has no name for.
__global__ void fields(const unsigned* a, const unsigned* b, unsigned* o) {
  const int i = threadIdx.x;
  const unsigned x = a[i], y = b[i], position = i % 32, length = i / 8 % 32;
  unsigned r;
  int k = 0;
  auto put = [&](unsigned v) { o[i * 12 + k++] = v; };
  asm("lop3.b32 %0, %1, %2, %3, 0xe2;" : "=r"(r) : "r"(x), "r"(y), "r"(x ^ 0x0f0f0f0f));
  put(r);
  asm("bfe.u32 %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(position), "r"(length));
  put(r);
  asm("bfe.s32 %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(position), "r"(length));
  put(r);
  asm("bfi.b32 %0, %1, %2, %3, %4;" : "=r"(r) : "r"(x), "r"(y), "r"(position), "r"(length));
  put(r);
  asm("bmsk.clamp.b32 %0, %1, %2;" : "=r"(r) : "r"(position), "r"(length));
  put(r);
  asm("szext.clamp.s32 %0, %1, %2;" : "=r"(r) : "r"(x), "r"(length));
  put(r);
  asm("szext.clamp.u32 %0, %1, %2;" : "=r"(r) : "r"(x), "r"(length));
  put(r);
  asm("fns.b32 %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(position), "r"(3));
  put(r);
  asm("prmt.b32.f4e %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(y), "r"(i));
  put(r);
  asm("prmt.b32.rc8 %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(y), "r"(i));
  put(r);
  asm("bfind.u32 %0, %1;" : "=r"(r) : "r"(x >> position));
  put(r);
  asm("vabsdiff4.u32.u32.u32.add %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(y), "r"(7));
  put(r);
}
static void test_fields() {
  Array<unsigned> a(N), b(N), o(N * 12);
  for (int i = 0; i < N; ++i) {
    a[i] = (unsigned)(noise(i) * 2.1e9f) * 3u;
    b[i] = (unsigned)(noise(i + 500) * 2.1e9f) * 5u;
  }
  a.up();
  b.up();
  fields<<<1, N>>>(a, b, o);
  LAUNCHED();
  o.down();
  for (int i = 0; i < N; ++i) {
    const unsigned x = a[i], y = b[i], z = x ^ 0x0f0f0f0f;
    const int position = i % 32, length = i / 8 % 32;
    int k = 0;
    auto want = [&](unsigned v) {
      EQUAL_I(i * 100 + k, o[i * 12 + k], v);
      ++k;
    };
    const unsigned ones = (1u << length) - 1, field = x >> position & ones;
    const bool in_word = position + length <= 32;
    const int sign_at = in_word ? position + length - 1 : 31;
    const int width = length && !in_word ? 32 - position : length;  // bits of x in the field
    const bool negative = length && (x >> sign_at & 1);
    want((x & y) | (~y & z));  // the table 0xe2 chooses x where y is set, else z
    want(field);
    want(negative ? field | (width < 32 ? ~0u << width : 0) : field);
    want((y & ~(ones << position)) | (x & ones) << position);
    want(ones << position);
    want(length == 0 ? 0 : (unsigned)((int)(x << (32 - length)) >> (32 - length)));
    want(x & ones);
    int left = 3;
    unsigned at = ~0u;
    for (int j = position; j < 32 && left; ++j)
      if (x >> j & 1 && --left == 0) at = j;
    want(at);
    const unsigned long long both = (unsigned long long)y << 32 | x;
    want((unsigned)(both >> 8 * (i & 3)));
    want((x >> 8 * (i & 3) & 255) * 0x01010101u);
    want(x >> position ? 31 - __builtin_clz(x >> position) : ~0u);
    unsigned sum = 7;
    for (int j = 0; j < 32; j += 8) sum += std::abs((int)(x >> j & 255) - (int)(y >> j & 255));
    want(sum);
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

int main() {
  test_ints();
  test_fields();
  test_wide();
  test_convert();
  return finish("arith");
}
