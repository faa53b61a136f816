// A library to preload: calls of the CUDA runtime and cuBLASLt that fail when a test wants them to.
//
//   FAILING_CUDA=FUNCTION=CODE[@WHEN]
//
// FUNCTION is one of those below, or `all`, which is a device that is lost; WHEN is the number of
// its first failing call (1 without it) or the path of a file: from when that is there on every
// call fails. CODE is what the call returns, for cudaDriverGetVersion the version that it reports
// and for cudaGetDeviceProperties ten times the compute capability.
#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <string>

namespace {

struct Plan {
  Plan() {
    const char* text = std::getenv("FAILING_CUDA");
    if (text == nullptr) return;
    const std::string plan = text;
    const size_t equals = plan.find('=');
    const size_t at = plan.find('@');
    function = plan.substr(0, equals);
    code = std::atoi(plan.c_str() + equals + 1);
    if (at == std::string::npos) return;
    const std::string when = plan.substr(at + 1);
    if (when.front() == '/') {
      path = when;
    } else {
      first_call = std::atoi(when.c_str());
    }
  }

  // What this call of `name` returns in place of what it should; 0: it does not fail.
  int Failure(const std::string& name) {
    if (function != name && function != "all") return 0;
    if (!path.empty() ? access(path.c_str(), F_OK) != 0 : ++calls < first_call) return 0;
    return code;
  }

  std::string function;
  int code = 0;
  int first_call = 1;
  std::string path;
  std::atomic<int> calls{0};
};

Plan& ThePlan() {
  static Plan* plan = new Plan();  // calls come after static objects have ended, too
  return *plan;
}

std::atomic<cudaError_t> last_error{cudaSuccess};

template <typename Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

template <typename... Parameters, typename... Arguments>
cudaError_t Call(cudaError_t (*)(Parameters...), const char* name, Arguments... arguments) {
  if (const int failure = ThePlan().Failure(name); failure != 0) {
    last_error = static_cast<cudaError_t>(failure);
    return last_error;
  }
  return Next<cudaError_t(Parameters...)>(name)(arguments...);
}

template <typename... Parameters, typename... Arguments>
cublasStatus_t Call(cublasStatus_t (*)(Parameters...), const char* name, Arguments... arguments) {
  const int failure = ThePlan().Failure(name);
  return failure != 0 ? static_cast<cublasStatus_t>(failure)
                      : Next<cublasStatus_t(Parameters...)>(name)(arguments...);
}

}  // namespace

extern "C" {

cudaError_t cudaDriverGetVersion(int* version) {
  const cudaError_t error = Next<cudaError_t(int*)>("cudaDriverGetVersion")(version);
  if (ThePlan().function == "cudaDriverGetVersion") *version = ThePlan().code;
  return error;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  const cudaError_t error =
      Next<cudaError_t(cudaDeviceProp*, int)>("cudaGetDeviceProperties")(properties, device);
  if (ThePlan().function == "cudaGetDeviceProperties") {
    properties->major = ThePlan().code / 10;
    properties->minor = ThePlan().code % 10;
  }
  return error;
}

cudaError_t cudaGetLastError() {
  const cudaError_t injected = last_error.exchange(cudaSuccess);
  return injected != cudaSuccess ? injected : Next<cudaError_t()>("cudaGetLastError")();
}

cudaError_t cudaGetDeviceCount(int* count) {
  return Call(&cudaGetDeviceCount, "cudaGetDeviceCount", count);
}

cudaError_t cudaMalloc(void** memory, size_t size) {
  return Call(&cudaMalloc, "cudaMalloc", memory, size);
}

cudaError_t cudaMallocHost(void** memory, size_t size) {
  return Call(&cudaMallocHost, "cudaMallocHost", memory, size);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return Call(&cudaStreamCreateWithFlags, "cudaStreamCreateWithFlags", stream, flags);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t size, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return Call(&cudaMemcpyAsync, "cudaMemcpyAsync", to, from, size, kind, stream);
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch,
                              size_t width, size_t height, cudaMemcpyKind kind,
                              cudaStream_t stream) {
  return Call(&cudaMemcpy2DAsync, "cudaMemcpy2DAsync", to, to_pitch, from, from_pitch, width,
              height, kind, stream);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return Call(&cudaStreamSynchronize, "cudaStreamSynchronize", stream);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return Call(&cudaEventSynchronize, "cudaEventSynchronize", event);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  return Call(&cudaGraphLaunch, "cudaGraphLaunch", graph, stream);
}

// What <<<>>> becomes; the C API's name for it takes a function instead of a kernel.
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments,
                               size_t shared_bytes, cudaStream_t stream) {
  return Call(&__cudaLaunchKernel, "__cudaLaunchKernel", kernel, grid, block, arguments,
              shared_bytes, stream);
}

// What the launches of a decode step's kernels become.
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function,
                                void** arguments) {
  return Call(&cudaLaunchKernelExC, "cudaLaunchKernelExC", config, function, arguments);
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  return Call(&cublasLtCreate, "cublasLtCreate", handle);
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t description,
                              const void* alpha, const void* a, cublasLtMatrixLayout_t a_layout,
                              const void* b, cublasLtMatrixLayout_t b_layout, const void* beta,
                              const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace,
                              size_t workspace_bytes, cudaStream_t stream) {
  return Call(&cublasLtMatmul, "cublasLtMatmul", handle, description, alpha, a, a_layout, b,
              b_layout, beta, c, c_layout, d, d_layout, algorithm, workspace, workspace_bytes,
              stream);
}

}  // extern "C"
