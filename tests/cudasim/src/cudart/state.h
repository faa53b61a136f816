// Internal state of the stand-in CUDA runtime: registered code, streams, events and graphs.
#ifndef RETNET_TESTS_CUDASIM_SRC_CUDART_STATE_H_
#define RETNET_TESTS_CUDASIM_SRC_CUDART_STATE_H_

#include <cuda_runtime_api.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "runtime/sim.h"

namespace cudasim::rt {

// Errors.
cudaError_t report(cudaError_t);  // records the thread's last error, returns it
void note(const char* format, ...)
    __attribute__((format(printf, 1, 2)));  // explains an API error on stderr

// Registered code.
struct FatBinary;  // one __cudaRegisterFatBinary call: a translation unit of the program
struct Function {
  FatBinary* binary;
  std::string name;
  const KernelInfo* kernel = nullptr;  // resolved on first use
  const ModuleInfo* module = nullptr;
  int max_dynamic_shared = 48 * 1024;  // cudaFuncAttributeMaxDynamicSharedMemorySize
  bool opted_in = false;
};
struct Symbol {
  FatBinary* binary;
  std::string name;
  size_t size;
  bool constant;
};
cudaError_t find_function(const void* handle, Function** out);  // loads the module
cudaError_t find_symbol(const void* host, uint64_t* address, size_t* size);

// Graphs.
struct KernelCall {
  Function* function = nullptr;
  dim3 grid, block;
  size_t dynamic_shared = 0;
  std::shared_ptr<std::vector<uint8_t>> params;
  void run() const;
};
struct Node {
  uint64_t id = next_id();  // kept by copies: identifies the node in executable graphs
  static uint64_t next_id();
  cudaGraphNodeType type = cudaGraphNodeTypeEmpty;
  std::function<void()> run;
  KernelCall kernel;  // when type is kernel
  std::vector<Node*> dependencies;
};
struct Graph {
  std::vector<std::unique_ptr<Node>> nodes;  // in capture order, which is a topological order
};
struct GraphExec {
  std::vector<Node> nodes;
};

struct Stream;
struct Capture {
  uint64_t id;
  Graph* graph;
  Stream* origin;
  cudaStreamCaptureMode mode;
  std::thread::id thread;
  bool invalid = false;
  std::vector<Stream*> members;
};

// Streams.
struct Dependency {
  Stream* stream;
  uint64_t position;
};
struct Operation {
  std::function<void()> run;
  std::vector<Dependency> dependencies;
  std::chrono::steady_clock::time_point submitted;
};
struct Stream {
  unsigned flags = 0;
  int priority = 0;
  uint64_t id = 0;
  bool legacy = false, destroyed = false;
  std::deque<Operation> queue;
  uint64_t submitted = 0, completed = 0;  // operation counts
  bool busy = false, queried = false;
  std::thread::id runner;
  Capture* capture = nullptr;
  std::vector<Node*> tail;  // capture: what the next node depends on
  bool blocking() const { return !(flags & cudaStreamNonBlocking); }
};
struct Event {
  unsigned flags = 0;
  Stream* stream = nullptr;  // nullptr: never recorded
  uint64_t position = 0;
  Capture* capture = nullptr;
  std::vector<Node*> tail;
  bool queried = false;
  std::shared_ptr<std::chrono::steady_clock::time_point> time;
};

Stream* stream_of(cudaStream_t);  // nullptr: invalid handle

// Adds work to a stream, or a node to the graph being captured on it.
cudaError_t submit(Stream*, std::function<void()>, cudaGraphNodeType, const KernelCall* = nullptr);
cudaError_t synchronize_stream(Stream*);  // waits for everything submitted so far
cudaError_t synchronize_device();
cudaError_t check_not_capturing(const char* call,
                                bool device_wide);  // for calls that are illegal during capture

}  // namespace cudasim::rt

// For the stand-in math libraries: adds an operation to a stream (or to the graph captured on it).
cudaError_t cudasim_submit(cudaStream_t stream, std::function<void()> work);
// Storage behind a device (or host) pointer; faults with `what` in the message when the range is
// invalid.
void* cudasim_storage(const void* p, size_t size, const char* what);

#endif  // RETNET_TESTS_CUDASIM_SRC_CUDART_STATE_H_
