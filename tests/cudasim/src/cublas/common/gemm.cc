#include "cublas/common/gemm.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "cudart/state.h"
#include "ptx/types.h"
#include "runtime/options.h"

namespace cudasim::blas {
namespace {

template <class T>
T convert(const uint8_t* p, cudaDataType_t type) {
  switch (type) {
    case CUDA_R_32F: {
      float v;
      memcpy(&v, p, 4);
      return (T)v;
    }
    case CUDA_R_64F: {
      double v;
      memcpy(&v, p, 8);
      return (T)v;
    }
    case CUDA_R_16BF: {
      ptx::bf16 v;
      memcpy(&v, p, 2);
      return (T)ptx::to_float(v);
    }
    case CUDA_R_16F: {
      ptx::f16 v;
      memcpy(&v, p, 2);
      return (T)ptx::to_float(v);
    }
    case CUDA_R_8I:
      return (T)(int8_t)*p;
    case CUDA_R_32I: {
      int32_t v;
      memcpy(&v, p, 4);
      return (T)v;
    }
    default:
      return T(0);
  }
}

template <class T>
void write(uint8_t* p, cudaDataType_t type, T v) {
  switch (type) {
    case CUDA_R_32F: {
      const float x = (float)v;
      memcpy(p, &x, 4);
      break;
    }
    case CUDA_R_64F: {
      const double x = (double)v;
      memcpy(p, &x, 8);
      break;
    }
    case CUDA_R_16BF: {
      const auto x = ptx::float_to_bf16((float)v);
      memcpy(p, &x, 2);
      break;
    }
    case CUDA_R_16F: {
      const auto x = ptx::float_to_half((float)v);
      memcpy(p, &x, 2);
      break;
    }
    case CUDA_R_32I: {
      const int32_t x = (int32_t)v;
      memcpy(p, &x, 4);
      break;
    }
    default:
      break;
  }
}

size_t span(const Matrix& x, int64_t rows, int64_t cols) {  // of the stored (not transposed) matrix
  const int64_t major = x.row_major ? rows : cols, minor = x.row_major ? cols : rows;
  return major && minor ? (size_t)((major - 1) * x.ld + minor) * type_size(x.type) : 0;
}

// Unpacks op(X) as `outer` vectors of length `inner`: A by rows, B by columns, both contiguous in
// k.
template <class T>
void unpack(const Matrix& x, const uint8_t* data, int64_t outer, int64_t inner, bool outer_is_row,
            int64_t from, int64_t to, T* out) {
  const size_t size = type_size(x.type);
  // index (r, c) of op(X) lies at (c, r) of the stored matrix when transposed
  const bool swap = x.transposed != x.row_major;  // true: consecutive c are adjacent in memory
  const int64_t step_row = swap ? x.ld : 1, step_col = swap ? 1 : x.ld;
  const int64_t outer_step = outer_is_row ? step_row : step_col,
                inner_step = outer_is_row ? step_col : step_row;
  (void)outer;
  if (outer_step == 1) {  // walk memory in order
    for (int64_t i = 0; i < inner; ++i)
      for (int64_t o = from; o < to; ++o)
        out[o * inner + i] = convert<T>(data + (o + i * inner_step) * size, x.type);
    return;
  }
  for (int64_t o = from; o < to; ++o)
    for (int64_t i = 0; i < inner; ++i)
      out[o * inner + i] = convert<T>(data + (o * outer_step + i * inner_step) * size, x.type);
}

// 4x4 tile of dot products; each is a sum of eight interleaved partial sums.
template <class T>
void tile(const T* a, const T* b, int64_t k, int rows, int cols, T out[4][4]) {
  constexpr int W = 8;
  if (rows == 4 && cols == 4) {
    T s[4][4][W] = {};
    int64_t i = 0;
    for (; i + W <= k; i += W)
      for (int r = 0; r < 4; ++r)
        for (int c = 0; c < 4; ++c)
          for (int w = 0; w < W; ++w) {
            if constexpr (std::is_same<T, float>::value)
              s[r][c][w] = __builtin_fmaf(a[r * k + i + w], b[c * k + i + w], s[r][c][w]);
            else
              s[r][c][w] += a[r * k + i + w] * b[c * k + i + w];
          }
    for (int r = 0; r < 4; ++r)
      for (int c = 0; c < 4; ++c) {
        T t = 0;
        for (int w = 0; w < W; ++w) t += s[r][c][w];
        for (int64_t j = i; j < k; ++j) t += a[r * k + j] * b[c * k + j];
        out[r][c] = t;
      }
    return;
  }
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < cols; ++c) {
      T s[W] = {}, t = 0;
      int64_t i = 0;
      for (; i + W <= k; i += W)
        for (int w = 0; w < W; ++w) s[w] += a[r * k + i + w] * b[c * k + i + w];
      for (int w = 0; w < W; ++w) t += s[w];
      for (; i < k; ++i) t += a[r * k + i] * b[c * k + i];
      out[r][c] = t;
    }
}

void parallel(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& f) {
  const int workers = options().workers;
  if (workers <= 1 || n <= grain) return f(0, n);
  std::atomic<int64_t> next{0};
  auto work = [&] {
    for (int64_t i; (i = next.fetch_add(grain)) < n;) f(i, std::min(n, i + grain));
  };
  std::vector<std::thread> threads;
  for (int i = 1; i < workers; ++i) threads.emplace_back(work);
  work();
  for (auto& t : threads) t.join();
}

template <class T>
void run_typed(const Gemm& g) {
  const int64_t m = g.m, n = g.n, k = g.k;
  auto stored = [](const Matrix& x, int64_t r, int64_t c) {
    return x.transposed ? span(x, c, r) : span(x, r, c);
  };
  const std::string name = g.name;
  auto* d = (uint8_t*)cudasim_storage(g.d.data, span(g.d, m, n), (name + " output").c_str());
  const uint8_t* c = nullptr;
  if (g.beta != 0)
    c = (const uint8_t*)cudasim_storage(g.c.data, span(g.c, m, n), (name + " matrix C").c_str());
  const uint8_t* bias = g.bias ? (const uint8_t*)cudasim_storage(g.bias, m * type_size(g.bias_type),
                                                                 (name + " bias").c_str())
                               : nullptr;
  std::vector<T> A, B;
  if (k > 0 && g.alpha != 0) {
    auto* a =
        (const uint8_t*)cudasim_storage(g.a.data, stored(g.a, m, k), (name + " matrix A").c_str());
    auto* b =
        (const uint8_t*)cudasim_storage(g.b.data, stored(g.b, k, n), (name + " matrix B").c_str());
    A.resize((size_t)(m * k));
    B.resize((size_t)(n * k));
    parallel(m, std::max<int64_t>(16, 65536 / std::max<int64_t>(k, 1)),
             [&](int64_t x, int64_t y) { unpack<T>(g.a, a, m, k, true, x, y, A.data()); });
    parallel(n, std::max<int64_t>(16, 65536 / std::max<int64_t>(k, 1)),
             [&](int64_t x, int64_t y) { unpack<T>(g.b, b, n, k, false, x, y, B.data()); });
  }
  // Results are scaled in fp32 (or int32), as the library does with an fp32 scale type.
  auto finish = [&](int64_t i, int64_t j, T acc) {
    const size_t at =
        (size_t)(g.d.row_major ? i * g.d.ld + j : i + j * g.d.ld) * type_size(g.d.type);
    if constexpr (std::is_same<T, int32_t>::value) {
      int64_t v = (int64_t)g.alpha * acc;
      if (c)
        v += (int64_t)g.beta *
             convert<int32_t>(c + (size_t)(g.c.row_major ? i * g.c.ld + j : i + j * g.c.ld) *
                                      type_size(g.c.type),
                              g.c.type);
      write(d + at, g.d.type, (int32_t)v);
    } else {
      T v = (T)g.alpha * acc;
      if (c)
        v += (T)g.beta * convert<T>(c + (size_t)(g.c.row_major ? i * g.c.ld + j : i + j * g.c.ld) *
                                            type_size(g.c.type),
                                    g.c.type);
      if (bias) v += convert<T>(bias + i * type_size(g.bias_type), g.bias_type);
      if (g.relu) v = v > 0 ? v : (v != v ? v : T(0));
      write(d + at, g.d.type, v);
    }
  };
  const bool product = !A.empty() && !B.empty();
  constexpr int64_t kBlock = 64;  // rows of A kept in cache while all columns of B pass by
  const int64_t tiles = (n + 3) / 4;
  for (int64_t i0 = 0; i0 < m; i0 += kBlock) {
    const int64_t i1 = std::min(m, i0 + kBlock);
    parallel(tiles, std::max<int64_t>(4, tiles / 16), [&](int64_t x, int64_t y) {
      for (int64_t tj = x; tj < y; ++tj)
        for (int64_t i = i0; i < i1; i += 4) {
          const int64_t j = tj * 4;
          const int rows = (int)std::min<int64_t>(4, i1 - i),
                    cols = (int)std::min<int64_t>(4, n - j);
          T out[4][4] = {};
          if (product) tile(A.data() + i * k, B.data() + j * k, k, rows, cols, out);
          for (int r = 0; r < rows; ++r)
            for (int q = 0; q < cols; ++q) finish(i + r, j + q, out[r][q]);
        }
    });
  }
}

}  // namespace

size_t type_size(cudaDataType_t t) {
  switch (t) {
    case CUDA_R_64F:
      return 8;
    case CUDA_R_32F:
    case CUDA_R_32I:
      return 4;
    case CUDA_R_16F:
    case CUDA_R_16BF:
      return 2;
    case CUDA_R_8I:
      return 1;
    default:
      return 0;
  }
}

double read_scalar(const void* p, cudaDataType_t type) {
  auto* q = (const uint8_t*)cudasim_storage(p, type_size(type), "alpha/beta");
  return convert<double>(q, type);
}

bool supported_compute(cublasComputeType_t c) {
  switch (c) {
    case CUBLAS_COMPUTE_32F:
    case CUBLAS_COMPUTE_32F_PEDANTIC:
    case CUBLAS_COMPUTE_32F_FAST_16F:
    case CUBLAS_COMPUTE_32F_FAST_16BF:
    case CUBLAS_COMPUTE_32F_FAST_TF32:
    case CUBLAS_COMPUTE_32I:
    case CUBLAS_COMPUTE_32I_PEDANTIC:
    case CUBLAS_COMPUTE_64F:
    case CUBLAS_COMPUTE_64F_PEDANTIC:
      return true;
    default:
      return false;
  }
}

bool supported(cudaDataType_t a, cudaDataType_t b, cudaDataType_t c, cudaDataType_t d,
               cublasComputeType_t compute) {
  if (a != b || c != d || !supported_compute(compute)) return false;
  const bool integer = compute == CUBLAS_COMPUTE_32I || compute == CUBLAS_COMPUTE_32I_PEDANTIC;
  const bool wide = compute == CUBLAS_COMPUTE_64F || compute == CUBLAS_COMPUTE_64F_PEDANTIC;
  switch (a) {
    case CUDA_R_8I:
      return integer ? d == CUDA_R_32I : d == CUDA_R_32F;
    case CUDA_R_16F:
      return !integer && !wide && (d == CUDA_R_16F || d == CUDA_R_32F);
    case CUDA_R_16BF:
      return !integer && !wide && (d == CUDA_R_16BF || d == CUDA_R_32F);
    case CUDA_R_32F:
      return !integer && !wide && d == CUDA_R_32F;
    case CUDA_R_64F:
      return wide && d == CUDA_R_64F;
    default:
      return false;
  }
}

void run(const Gemm& g) {
  if (g.m <= 0 || g.n <= 0) return;
  if (g.integer)
    run_typed<int32_t>(g);
  else if (g.d.type == CUDA_R_64F)
    run_typed<double>(g);
  else
    run_typed<float>(g);
}

}  // namespace cudasim::blas
