// A small retention layer: RMSNorm, a cuBLAS projection to q, k and v, chunkwise retention for the
// prompt (tensor cores), and recurrent decoding replayed from a CUDA graph. Everything is checked
// against a double reference: the chunkwise and the recurrent form must agree with it and with each
// other.
#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_pipeline.h>
#include <cuda_runtime.h>
#include <mma.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

using namespace nvcuda;
using bf16 = __nv_bfloat16;

#define CUDA(call)                                                                \
  do {                                                                            \
    cudaError_t e_ = (call);                                                      \
    if (e_ != cudaSuccess) {                                                      \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, cudaGetErrorString(e_)); \
      exit(1);                                                                    \
    }                                                                             \
  } while (0)
#define BLAS(call)                                            \
  do {                                                        \
    if ((call) != CUBLAS_STATUS_SUCCESS) {                    \
      fprintf(stderr, "%s:%d: cuBLAS\n", __FILE__, __LINE__); \
      exit(1);                                                \
    }                                                         \
  } while (0)

constexpr int H = 4, D = 64, E = H * D;  // heads, head size, model width
constexpr int C = 64;                    // chunk length
constexpr int LD = D + 8, LF = D + 4;    // padded strides in shared memory
constexpr int PROMPT = 2 * C, DECODE = 8, T = PROMPT + DECODE;
constexpr float EPS = 1e-5f;

__global__ void rmsnorm(const bf16* x, const float* gain, bf16* y) {  // one block per token
  __shared__ float partial[32];
  const bf16* row = x + (size_t)blockIdx.x * E;
  float s = 0;
  for (int i = threadIdx.x; i < E; i += blockDim.x) {
    const float v = __bfloat162float(row[i]);
    s += v * v;
  }
  for (int d = 16; d; d >>= 1) s += __shfl_xor_sync(~0u, s, d);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = s;
  __syncthreads();
  s = 0;
  for (int w = 0; w < blockDim.x / 32; ++w) s += partial[w];
  const float scale = rsqrtf(s / E + EPS);
  for (int i = threadIdx.x; i < E; i += blockDim.x)
    y[(size_t)blockIdx.x * E + i] = __float2bfloat16(__bfloat162float(row[i]) * scale * gain[i]);
}

struct Tiles {
  alignas(128) bf16 q[C * LD], k[C * LD], v[C * LD], p[C * LD], s[D * LD];
  alignas(128) float f[C * LF], state[D * LF];
};

// qkv: [token][3][H][D]; one block per head walks the chunks and leaves the state for decoding.
__global__ void __launch_bounds__(128) retention_chunks(const bf16* qkv, const float* log2_decay,
                                                        float* out, float* state, int chunks) {
  extern __shared__ __align__(128) unsigned char raw[];
  Tiles& m = *reinterpret_cast<Tiles*>(raw);
  const int head = blockIdx.x, t = threadIdx.x, warp = t / 32;
  const float lg = log2_decay[head];
  for (int i = t; i < D * LF; i += 128) m.state[i] = 0;
  for (int chunk = 0; chunk < chunks; ++chunk) {
    __syncthreads();
    for (int i = t; i < C * D / 8; i += 128) {
      const int r = i / (D / 8), c = i % (D / 8) * 8;
      const bf16* src = qkv + (size_t)(chunk * C + r) * 3 * E + head * D + c;
      __pipeline_memcpy_async(&m.q[r * LD + c], src, 16);
      __pipeline_memcpy_async(&m.k[r * LD + c], src + E, 16);
      __pipeline_memcpy_async(&m.v[r * LD + c], src + 2 * E, 16);
    }
    __pipeline_commit();
    for (int i = t; i < D * D; i += 128)
      m.s[i / D * LD + i % D] = __float2bfloat16(m.state[i / D * LF + i % D]);
    __pipeline_wait_prior(0);
    __syncthreads();
    wmma::fragment<wmma::matrix_a, 16, 16, 16, bf16, wmma::row_major> a;
    {  // scores of 16 rows per warp
      wmma::fragment<wmma::accumulator, 16, 16, 16, float> acc[C / 16];
      wmma::fragment<wmma::matrix_b, 16, 16, 16, bf16, wmma::col_major> b;
      for (auto& x : acc) wmma::fill_fragment(x, 0.0f);
      for (int kk = 0; kk < D; kk += 16) {
        wmma::load_matrix_sync(a, &m.q[warp * 16 * LD + kk], LD);
        for (int n = 0; n < C / 16; ++n) {
          wmma::load_matrix_sync(b, &m.k[n * 16 * LD + kk], LD);
          wmma::mma_sync(acc[n], a, b, acc[n]);
        }
      }
      for (int n = 0; n < C / 16; ++n)
        wmma::store_matrix_sync(&m.f[warp * 16 * LF + n * 16], acc[n], LF, wmma::mem_row_major);
    }
    __syncthreads();
    for (int i = t; i < C * C; i += 128) {
      const int r = i / C, c = i % C;
      m.p[r * LD + c] = __float2bfloat16(c <= r ? m.f[r * LF + c] * exp2f(lg * (r - c)) : 0.0f);
    }
    __syncthreads();
    {  // within the chunk, and from the state before it
      wmma::fragment<wmma::matrix_b, 16, 16, 16, bf16, wmma::row_major> b;
      for (int n = 0; n < D / 16; ++n) {
        wmma::fragment<wmma::accumulator, 16, 16, 16, float> inner, cross;
        wmma::fill_fragment(inner, 0.0f);
        wmma::fill_fragment(cross, 0.0f);
        for (int kk = 0; kk < C; kk += 16) {
          wmma::load_matrix_sync(a, &m.p[warp * 16 * LD + kk], LD);
          wmma::load_matrix_sync(b, &m.v[kk * LD + n * 16], LD);
          wmma::mma_sync(inner, a, b, inner);
          wmma::load_matrix_sync(a, &m.q[warp * 16 * LD + kk], LD);
          wmma::load_matrix_sync(b, &m.s[kk * LD + n * 16], LD);
          wmma::mma_sync(cross, a, b, cross);
        }
        __syncwarp();
        wmma::store_matrix_sync(&m.f[warp * 16 * LF], cross, LF, wmma::mem_row_major);
        wmma::store_matrix_sync(&m.f[warp * 16 * LF + 16], inner, LF, wmma::mem_row_major);
        __syncwarp();
        for (int i = t % 32; i < 256; i += 32) {
          const int r = warp * 16 + i / 16, c = i % 16;
          out[(size_t)(chunk * C + r) * E + head * D + n * 16 + c] =
              m.f[r * LF + 16 + c] + m.f[r * LF + c] * exp2f(lg * (r + 1));
        }
      }
    }
    __syncthreads();
    for (int i = t; i < C * D; i += 128) {  // keys decayed to the end of the chunk
      bf16& x = m.k[i / D * LD + i % D];
      x = __float2bfloat16(__bfloat162float(x) * exp2f(lg * (C - 1 - i / D)));
    }
    __syncthreads();
    {
      wmma::fragment<wmma::matrix_a, 16, 16, 16, bf16, wmma::col_major> kt;
      wmma::fragment<wmma::matrix_b, 16, 16, 16, bf16, wmma::row_major> b;
      wmma::fragment<wmma::accumulator, 16, 16, 16, float> acc;
      const float decay = exp2f(lg * C);
      for (int n = 0; n < D / 16; ++n) {
        wmma::load_matrix_sync(acc, &m.state[warp * 16 * LF + n * 16], LF, wmma::mem_row_major);
        for (int e = 0; e < acc.num_elements; ++e) acc.x[e] *= decay;
        for (int kk = 0; kk < C; kk += 16) {
          wmma::load_matrix_sync(kt, &m.k[kk * LD + warp * 16], LD);
          wmma::load_matrix_sync(b, &m.v[kk * LD + n * 16], LD);
          wmma::mma_sync(acc, kt, b, acc);
        }
        wmma::store_matrix_sync(&m.state[warp * 16 * LF + n * 16], acc, LF, wmma::mem_row_major);
      }
    }
  }
  __syncthreads();
  for (int i = t; i < D * D; i += 128)
    state[(size_t)head * D * D + i] = m.state[i / D * LF + i % D];
}

// One token: state = decay * state + k v^T, out = q state. One block per head, one thread per
// column.
__global__ void retention_step(const bf16* qkv, const float* log2_decay, float* state, float* out) {
  __shared__ float q[D], k[D];
  const int head = blockIdx.x, c = threadIdx.x;
  q[c] = __bfloat162float(qkv[head * D + c]);
  k[c] = __bfloat162float(qkv[E + head * D + c]);
  const float v = __bfloat162float(qkv[2 * E + head * D + c]), decay = exp2f(log2_decay[head]);
  __syncthreads();
  float* s = state + (size_t)head * D * D + c;
  float o = 0;
  for (int r = 0; r < D; ++r) {
    const float x = s[r * D] * decay + k[r] * v;
    s[r * D] = x;
    o += q[r] * x;
  }
  out[head * D + c] = o;
}
__global__ void next_token(const bf16* all, int* position,
                           bf16* x) {  // the decode loop's input, advanced on the device
  x[threadIdx.x] = all[(size_t)*position * E + threadIdx.x];
  __syncthreads();
  if (threadIdx.x == 0) ++*position;
}

static float noise(unsigned i) {
  i = i * 747796405u + 2891336453u;
  i = ((i >> ((i >> 28) + 4)) ^ i) * 277803737u;
  return (float)((i >> 22 ^ i) & 0xffffff) / 8388608.0f - 1.0f;
}
template <class V>
static V* upload(const std::vector<V>& h) {
  V* d;
  CUDA(cudaMalloc(&d, h.size() * sizeof(V)));
  CUDA(cudaMemcpy(d, h.data(), h.size() * sizeof(V), cudaMemcpyHostToDevice));
  return d;
}

int main() {
  std::vector<bf16> x(T * E), w(3 * E * E);
  std::vector<float> gain(E), lg(H);
  for (size_t i = 0; i < x.size(); ++i) x[i] = __float2bfloat16(noise(i));
  for (size_t i = 0; i < w.size(); ++i) w[i] = __float2bfloat16(noise(i + 123456) * 0.1f);
  for (int i = 0; i < E; ++i) gain[i] = 1 + 0.2f * noise(i + 9);
  for (int i = 0; i < H; ++i) lg[i] = std::log2(1 - std::exp2(-3.0f - i));
  bf16 *dx = upload(x), *dw = upload(w), *y, *qkv, *xt;
  float *dgain = upload(gain), *dlg = upload(lg), *state, *out;
  int* position = upload(std::vector<int>{PROMPT});
  CUDA(cudaMalloc(&y, T * E * 2));
  CUDA(cudaMalloc(&qkv, T * 3 * E * 2));
  CUDA(cudaMalloc(&xt, E * 2));
  CUDA(cudaMalloc(&state, H * D * D * 4));
  CUDA(cudaMalloc(&out, T * E * 4));
  cudaStream_t s;
  cublasHandle_t h;
  CUDA(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
  BLAS(cublasCreate(&h));
  BLAS(cublasSetStream(h, s));
  const float one = 1, zero = 0;
  auto project = [&](const bf16* in, bf16* o,
                     int tokens) {  // o[token][3E] = in[token][E] w[3E][E]^T
    BLAS(cublasGemmEx(h, CUBLAS_OP_T, CUBLAS_OP_N, 3 * E, tokens, E, &one, dw, CUDA_R_16BF, E, in,
                      CUDA_R_16BF, E, &zero, o, CUDA_R_16BF, 3 * E, CUBLAS_COMPUTE_32F,
                      CUBLAS_GEMM_DEFAULT));
  };
  // Prompt.
  CUDA(cudaFuncSetAttribute(retention_chunks, cudaFuncAttributeMaxDynamicSharedMemorySize,
                            sizeof(Tiles)));
  rmsnorm<<<PROMPT, 128, 0, s>>>(dx, dgain, y);
  project(y, qkv, PROMPT);
  retention_chunks<<<H, 128, sizeof(Tiles), s>>>(qkv, dlg, out, state, PROMPT / C);
  CUDA(cudaGetLastError());
  // Decoding, captured once and replayed.
  std::vector<float> result(T * E);
  float* pinned;
  CUDA(cudaMallocHost(&pinned, E * 4));
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  CUDA(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
  next_token<<<1, E, 0, s>>>(dx, position, xt);
  rmsnorm<<<1, 128, 0, s>>>(xt, dgain, y);
  project(y, qkv, 1);
  retention_step<<<H, D, 0, s>>>(qkv, dlg, state, out + PROMPT * E);
  CUDA(cudaMemcpyAsync(pinned, out + PROMPT * E, E * 4, cudaMemcpyDeviceToHost, s));
  CUDA(cudaStreamEndCapture(s, &graph));
  CUDA(cudaGraphInstantiate(&exec, graph, 0));
  for (int i = 0; i < DECODE; ++i) {
    CUDA(cudaGraphLaunch(exec, s));
    CUDA(cudaStreamSynchronize(s));
    for (int c = 0; c < E; ++c) result[(PROMPT + i) * E + c] = pinned[c];
  }
  CUDA(cudaMemcpy(result.data(), out, PROMPT * E * 4, cudaMemcpyDeviceToHost));

  // Reference: the recurrent form in double, with bf16 rounding where the program stores bf16.
  auto rounded = [](double v) { return (double)__bfloat162float(__double2bfloat16(v)); };
  std::vector<double> S(H * D * D, 0.0);
  double worst = 0, scale = 0;
  bool finite = true;
  for (int t = 0; t < T; ++t) {
    std::vector<double> n(E), p(3 * E);
    double sum = 0;
    for (int i = 0; i < E; ++i) {
      const double v = __bfloat162float(x[t * E + i]);
      sum += v * v;
    }
    for (int i = 0; i < E; ++i)
      n[i] = rounded(__bfloat162float(x[t * E + i]) / std::sqrt(sum / E + EPS) * gain[i]);
    for (int o = 0; o < 3 * E; ++o) {
      double a = 0;
      for (int i = 0; i < E; ++i) a += (double)__bfloat162float(w[(size_t)o * E + i]) * n[i];
      p[o] = rounded(a);
    }
    for (int hd = 0; hd < H; ++hd)
      for (int c = 0; c < D; ++c) {
        double o = 0;
        for (int r = 0; r < D; ++r) {
          double& v = S[(hd * D + r) * D + c];
          v = v * std::exp2((double)lg[hd]) + p[E + hd * D + r] * p[2 * E + hd * D + c];
          o += p[hd * D + r] * v;
        }
        const double got = result[t * E + hd * D + c];
        finite &= std::isfinite(got);
        worst = std::fmax(worst, std::fabs(got - o));
        scale = std::fmax(scale, std::fabs(o));
      }
  }
  const bool ok = finite && worst <= 0.01 * scale;  // negated comparisons would let NaN pass
  printf("retention: %d prompt and %d decoded tokens, largest error %.3g of %.3g: %s\n", PROMPT,
         DECODE, worst, scale, ok ? "ok" : "FAILED");
  return ok ? 0 : 1;
}
