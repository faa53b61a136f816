// ldmatrix, mma.sync and wmma.
//
// Accumulation is a chain of fp32 fused multiply-adds in ascending k, which is not the rounding of
// any particular tensor core.
#ifndef RETNET_TESTS_CUDASIM_SRC_PTX_MATRIX_H_
#define RETNET_TESTS_CUDASIM_SRC_PTX_MATRIX_H_

#include "ptx/warp.h"

namespace ptx {

// ldmatrix, stmatrix, movmatrix.
struct LdmatrixArg {
  const uint8_t* row;
  uint32_t out[4];
  int count;
  bool trans;
};
inline void ldmatrix(Thread* t, uint32_t* out, int count, bool trans, uint64_t address,
                     bool generic, uint32_t site) {
  t->site = site;
  LdmatrixArg arg{nullptr, {}, count, trans};
  if ((int)t->lane < count * 8)  // each lane of these supplies one row address
    arg.row = generic ? generic_at<16>(t, address, cudasim::kRead, site)
                      : shared_at<16>(t, address, cudasim::kRead, site);
  cudasim::collective(t, ~0u, "ldmatrix", true, &arg, [](void* const* p, uint32_t) {
    const int count = ((LdmatrixArg*)p[0])->count;
    const bool trans = ((LdmatrixArg*)p[0])->trans;
    for (int m = 0; m < count; ++m) {
      uint16_t tile[8][8];
      for (int r = 0; r < 8; ++r) memcpy(tile[r], ((LdmatrixArg*)p[m * 8 + r])->row, 16);
      for (int l = 0; l < 32; ++l) {
        const int r = l / 4, c = l % 4 * 2;
        const uint32_t lo = trans ? tile[c][r] : tile[r][c],
                       hi = trans ? tile[c + 1][r] : tile[r][c + 1];
        ((LdmatrixArg*)p[l])->out[m] = lo | hi << 16;
      }
    }
  });
  for (int i = 0; i < count; ++i) out[i] = arg.out[i];
}
struct StmatrixArg {
  uint8_t* row;
  uint32_t in[4];
  int count;
  bool trans;
};
inline void stmatrix(Thread* t, const uint32_t* in, int count, bool trans, uint64_t address,
                     bool generic, uint32_t site) {
  t->site = site;
  StmatrixArg arg{nullptr, {}, count, trans};
  for (int i = 0; i < count; ++i) arg.in[i] = in[i];
  if ((int)t->lane < count * 8)
    arg.row = generic ? generic_at<16>(t, address, cudasim::kWrite, site)
                      : shared_at<16>(t, address, cudasim::kWrite, site);
  cudasim::collective(t, ~0u, "stmatrix", true, &arg, [](void* const* p, uint32_t) {
    const int count = ((StmatrixArg*)p[0])->count;
    const bool trans = ((StmatrixArg*)p[0])->trans;
    for (int m = 0; m < count; ++m)
      for (int l = 0; l < 32; ++l)
        for (int j = 0; j < 2; ++j) {
          int r = l / 4, c = l % 4 * 2 + j;
          if (trans) {
            const int x = r;
            r = c;
            c = x;
          }
          const uint16_t v = (uint16_t)(((StmatrixArg*)p[l])->in[m] >> (16 * j));
          memcpy(((StmatrixArg*)p[m * 8 + r])->row + c * 2, &v, 2);
        }
  });
}
struct MovmatrixArg {
  uint32_t in, out;
};
inline uint32_t movmatrix(Thread* t, uint32_t v, uint32_t site) {
  t->site = site;
  MovmatrixArg arg{v, 0};
  cudasim::collective(t, ~0u, "movmatrix", true, &arg, [](void* const* p, uint32_t) {
    for (int l = 0; l < 32; ++l) {
      uint32_t o = 0;
      for (int j = 0; j < 2; ++j) {
        const int r = l % 4 * 2 + j, c = l / 4;  // transposed position
        o |= (((MovmatrixArg*)p[r * 4 + c / 2])->in >> (16 * (c & 1)) & 0xffff) << (16 * j);
      }
      ((MovmatrixArg*)p[l])->out = o;
    }
  });
  return arg.out;
}

// Element decoding.
enum class Element { bf16, f16, tf32, s8, u8, f32, s32, f64 };
template <Element E>
struct ElementInfo;
template <>
struct ElementInfo<Element::bf16> {
  using Compute = float;
  static constexpr int bits = 16;
};
template <>
struct ElementInfo<Element::f16> {
  using Compute = float;
  static constexpr int bits = 16;
};
template <>
struct ElementInfo<Element::tf32> {
  using Compute = float;
  static constexpr int bits = 32;
};
template <>
struct ElementInfo<Element::s8> {
  using Compute = int32_t;
  static constexpr int bits = 8;
};
template <>
struct ElementInfo<Element::u8> {
  using Compute = int32_t;
  static constexpr int bits = 8;
};
template <>
struct ElementInfo<Element::f32> {
  using Compute = float;
  static constexpr int bits = 32;
};
template <>
struct ElementInfo<Element::s32> {
  using Compute = int32_t;
  static constexpr int bits = 32;
};
template <>
struct ElementInfo<Element::f64> {
  using Compute = double;
  static constexpr int bits = 64;
};

template <Element E>
inline typename ElementInfo<E>::Compute decode(const uint32_t* regs, int i) {
  constexpr int bits = ElementInfo<E>::bits, per = bits >= 32 ? 1 : 32 / bits;
  if constexpr (E == Element::f64) {
    double d;
    memcpy(&d, regs + 2 * i, 8);
    return d;
  } else {
    const uint32_t w = regs[i / per] >> (i % per * (bits & 31));
    if constexpr (E == Element::bf16)
      return as<float>(w << 16);
    else if constexpr (E == Element::f16)
      return to_float(f16{(uint16_t)w});
    else if constexpr (E == Element::tf32)
      return as<float>(w & 0xffffe000u);
    else if constexpr (E == Element::f32)
      return as<float>(w);
    else if constexpr (E == Element::s8)
      return (int8_t)w;
    else if constexpr (E == Element::u8)
      return (uint8_t)w;
    else
      return (int32_t)w;
  }
}
template <Element E>
inline void encode(uint32_t* regs, int i, typename ElementInfo<E>::Compute v) {
  if constexpr (E == Element::f16) {
    const uint32_t h = float_to_half(v).v, sh = (i & 1) * 16;
    regs[i / 2] = (regs[i / 2] & ~(0xffffu << sh)) | h << sh;
  } else if constexpr (E == Element::f64)
    memcpy(regs + 2 * i, &v, 8);
  else
    regs[i] = as<uint32_t>(v);
}

// Mma.sync: fragment layouts of the PTX ISA.
// Elements of A and B come in groups of `g` consecutive k per lane (g = 32 bits / element size).
template <int K, int G>
inline void a_index(int lane, int i, int& row, int& col) {  // M = 16
  const int group = lane >> 2, quad = lane & 3, reg = i / G, in = i % G;
  row = group + (reg & 1 ? 8 : 0);
  col = quad * G + in + (reg >> 1) * 4 * G;
}
template <int K, int G>
inline void b_index(int lane, int i, int& row, int& col) {  // N = 8
  const int group = lane >> 2, quad = lane & 3, reg = i / G, in = i % G;
  row = quad * G + in + reg * 4 * G;
  col = group;
}
inline void c_index(int lane, int i, int& row, int& col) {
  row = (lane >> 2) + (i >> 1 & 1) * 8;
  col = (lane & 3) * 2 + (i & 1);
}

struct MmaArg {
  uint32_t* d;
  const uint32_t *a, *b, *c;
};

template <int M, int K, Element EA, Element EB, Element ED, Element EC, bool Saturate>
inline void mma_execute(void* const* p, uint32_t) {
  using T = typename ElementInfo<EC>::Compute;
  constexpr int N = 8, G = ElementInfo<EA>::bits >= 32 ? 1 : 32 / ElementInfo<EA>::bits;
  constexpr int na = M * K / 32, nb = K * N / 32, nc = M * N / 32;
  T A[M][K], B[K][N], D[M][N];
  for (int l = 0; l < 32; ++l) {
    auto* x = (const MmaArg*)p[l];
    int r, c;
    for (int i = 0; i < na; ++i) {
      if constexpr (M == 16)
        a_index<K, G>(l, i, r, c);
      else
        r = l >> 2, c = (l & 3) * G + i % G + i / G * 4 * G;  // m8: one row per lane group
      A[r][c] = decode<EA>(x->a, i);
    }
    for (int i = 0; i < nb; ++i) b_index<K, G>(l, i, r, c), B[r][c] = decode<EB>(x->b, i);
    for (int i = 0; i < nc; ++i) c_index(l, i, r, c), D[r][c] = decode<EC>(x->c, i);
  }
  for (int m = 0; m < M; ++m)
    for (int k = 0; k < K; ++k)
      for (int n = 0; n < N; ++n) {
        if constexpr (std::is_same<T, float>::value)
          D[m][n] = __builtin_fmaf(A[m][k], B[k][n], D[m][n]);
        else if constexpr (std::is_same<T, double>::value)
          D[m][n] = __builtin_fma(A[m][k], B[k][n], D[m][n]);
        else if constexpr (Saturate)
          D[m][n] = saturate_int<int32_t>((int64_t)D[m][n] + (int64_t)A[m][k] * B[k][n]);
        else
          D[m][n] = (T)((uint32_t)D[m][n] + (uint32_t)(A[m][k] * B[k][n]));
      }
  for (int l = 0; l < 32; ++l) {
    auto* x = (const MmaArg*)p[l];
    int r, c;
    for (int i = 0; i < nc; ++i) c_index(l, i, r, c), encode<ED>(x->d, i, D[r][c]);
  }
}
template <int M, int K, Element EA, Element EB, Element ED, Element EC, bool Saturate>
inline void mma(Thread* t, uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c,
                uint32_t site) {
  t->site = site;
  MmaArg arg{d, a, b, c};
  cudasim::collective(t, ~0u, "mma.sync", true, &arg, mma_execute<M, K, EA, EB, ED, EC, Saturate>);
}

// wmma: the fragment layout is unspecified, so a scrambled one of our own is used.
inline int wmma_element(int lane, int i, int total) { return (i * 32 + ((lane * 5) & 31)) % total; }

template <Element E>
constexpr int storage_bytes = ElementInfo<E>::bits / 8;

template <Element E, int R, int C>
inline void wmma_transfer(Thread* t, uint32_t* regs, int nregs, bool row_major, bool write,
                          uint64_t address, int space, uint32_t ld, uint32_t site) {
  constexpr int size = storage_bytes<E>, per = size >= 4 ? 1 : 4 / size;
  t->site = site;
  if (address % 32 && E != Element::f64)
    cudasim::fault(t, "wmma load/store address is not 32-byte aligned (%#lx)",
                   (unsigned long)address);
  if (ld * size % 16)
    cudasim::fault(t, "wmma leading dimension %u is not a multiple of 16 bytes", ld);
  const int elements = size == 8 ? nregs / 2 : nregs * per;
  for (int i = 0; i < elements; ++i) {
    const int e = wmma_element((int)t->lane, i, R * C), r = e / C, c = e % C;
    const uint64_t a = address + (uint64_t)(row_major ? r * ld + c : c * ld + r) * size;
    const int mode = write ? cudasim::kWrite : cudasim::kRead;
    uint8_t* p = space == 1   ? shared_at<size>(t, a, mode, site)
                 : space == 2 ? global_at<size>(t, a, mode, site)
                              : generic_at<size>(t, a, mode, site);
    uint8_t* r8 = (uint8_t*)regs + i * size;
    if (write)
      memcpy(p, r8, size);
    else
      memcpy(r8, p, size);
  }
}

template <int M, int N, int K, Element EA, Element EB, Element ED, Element EC, bool Saturate>
inline void wmma_execute(void* const* p, uint32_t) {
  using T = typename ElementInfo<EC>::Compute;
  // f16 fragments of A and B always hold 16 elements per lane, so elements may be repeated.
  constexpr int na = EA == Element::f16 ? 16 : M * K / 32,
                nb = EB == Element::f16 ? 16 : K * N / 32;
  T A[M * K], B[K * N], D[M * N];
  for (int l = 0; l < 32; ++l) {
    auto* x = (const MmaArg*)p[l];
    for (int i = 0; i < na; ++i) A[wmma_element(l, i, M * K)] = decode<EA>(x->a, i);
    for (int i = 0; i < nb; ++i) B[wmma_element(l, i, K * N)] = decode<EB>(x->b, i);
    for (int i = 0; i < M * N / 32; ++i) D[wmma_element(l, i, M * N)] = decode<EC>(x->c, i);
  }
  for (int m = 0; m < M; ++m)
    for (int k = 0; k < K; ++k)
      for (int n = 0; n < N; ++n) {
        T& d = D[m * N + n];
        if constexpr (std::is_same<T, float>::value)
          d = __builtin_fmaf(A[m * K + k], B[k * N + n], d);
        else if constexpr (std::is_same<T, double>::value)
          d = __builtin_fma(A[m * K + k], B[k * N + n], d);
        else if constexpr (Saturate)
          d = saturate_int<int32_t>((int64_t)d + (int64_t)A[m * K + k] * B[k * N + n]);
        else
          d = (T)((uint32_t)d + (uint32_t)(A[m * K + k] * B[k * N + n]));
      }
  for (int l = 0; l < 32; ++l) {
    auto* x = (const MmaArg*)p[l];
    for (int i = 0; i < M * N / 32; ++i) encode<ED>(x->d, i, D[wmma_element(l, i, M * N)]);
  }
}
template <int M, int N, int K, Element EA, Element EB, Element ED, Element EC, bool Saturate>
inline void wmma(Thread* t, uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c,
                 uint32_t site) {
  t->site = site;
  MmaArg arg{d, a, b, c};
  cudasim::collective(t, ~0u, "wmma.mma", true, &arg,
                      wmma_execute<M, N, K, EA, EB, ED, EC, Saturate>);
}

}  // namespace ptx

#endif  // RETNET_TESTS_CUDASIM_SRC_PTX_MATRIX_H_
