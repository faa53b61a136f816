// CUDA graphs: explicit construction, instantiation, update and launch.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>

#include "cudart/state.h"
#include "runtime/fault.h"

using namespace cudasim;
using namespace cudasim::rt;

namespace cudasim::rt {
uint64_t Node::next_id() {
  static std::atomic<uint64_t> next{1};
  return next++;
}
cudaError_t make_call(const void*, dim3, dim3, void**, size_t, KernelCall*);
}  // namespace cudasim::rt

namespace {

Graph* graph(cudaGraph_t g) { return (Graph*)g; }
Node* node(cudaGraphNode_t n) { return (Node*)n; }

Node* add(cudaGraph_t g, const cudaGraphNode_t* deps, size_t n, cudaGraphNodeType type,
          std::function<void()> run) {
  auto x = std::make_unique<Node>();
  x->type = type;
  x->run = std::move(run);
  for (size_t i = 0; i < n; ++i) x->dependencies.push_back(node(deps[i]));
  graph(g)->nodes.push_back(std::move(x));
  return graph(g)->nodes.back().get();
}

// Dependencies added after the nodes may contradict the order of creation.
std::vector<const Node*> topological_order(const Graph& g) {
  std::vector<const Node*> order;
  std::vector<const Node*> visiting;
  std::function<bool(const Node*)> visit = [&](const Node* n) {
    if (std::find(order.begin(), order.end(), n) != order.end()) return true;
    if (std::find(visiting.begin(), visiting.end(), n) != visiting.end()) return false;
    visiting.push_back(n);
    for (const Node* d : n->dependencies)
      if (!visit(d)) return false;
    visiting.pop_back();
    order.push_back(n);
    return true;
  };
  bool sorted = true;
  std::vector<const Node*> seen;
  for (auto& n : g.nodes) {
    for (Node* d : n->dependencies) sorted &= std::find(seen.begin(), seen.end(), d) != seen.end();
    seen.push_back(n.get());
    if (!sorted) break;
  }
  if (sorted) return seen;
  for (auto& n : g.nodes)
    if (!visit(n.get())) return {};
  return order;
}

cudaError_t instantiate(cudaGraphExec_t* out, cudaGraph_t g) {
  if (!out || !g) return report(cudaErrorInvalidValue);
  auto order = topological_order(*graph(g));
  if (order.size() != graph(g)->nodes.size()) return report(cudaErrorInvalidValue);
  auto* e = new GraphExec;
  for (const Node* n : order) e->nodes.push_back(*n);
  *out = (cudaGraphExec_t)e;
  return cudaSuccess;
}

cudaError_t set_kernel(Node* n, const cudaKernelNodeParams* p) {
  KernelCall call;
  if (cudaError_t e =
          make_call(p->func, p->gridDim, p->blockDim, p->kernelParams, p->sharedMemBytes, &call))
    return e;
  n->kernel = call;
  n->run = [call] { call.run(); };
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaGraphCreate(cudaGraph_t* g, unsigned) {
  *g = (cudaGraph_t) new Graph;
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t g) {
  if (!g) return report(cudaErrorInvalidValue);
  delete graph(g);
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* e, cudaGraph_t g, unsigned long long) {
  return instantiate(e, g);
}
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* e, cudaGraph_t g, unsigned long long) {
  return instantiate(e, g);
}
cudaError_t cudaGraphInstantiateWithParams(cudaGraphExec_t* e, cudaGraph_t g,
                                           cudaGraphInstantiateParams* p) {
  const cudaError_t r = instantiate(e, g);
  if (p) p->result_out = r ? cudaGraphInstantiateError : cudaGraphInstantiateSuccess;
  return r;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e) {
  if (!e) return report(cudaErrorInvalidValue);
  synchronize_device();  // queued launches refer to it
  delete (GraphExec*)e;
  return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaGraphExecGetFlags(cudaGraphExec_t, unsigned long long* flags) {
  *flags = 0;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t stream) {
  if (!e) return report(cudaErrorInvalidValue);
  auto nodes = std::make_shared<
      std::vector<std::function<void()>>>();  // later updates do not affect this launch
  for (const Node& n : ((GraphExec*)e)->nodes)
    if (n.run) nodes->push_back(n.run);
  return report(submit(
      stream_of(stream),
      [nodes] {
        for (auto& run : *nodes) run();
      },
      cudaGraphNodeTypeGraph));
}
cudaError_t cudaGraphExecUpdate(cudaGraphExec_t e, cudaGraph_t g,
                                cudaGraphExecUpdateResultInfo* info) {
  if (!e || !g) return report(cudaErrorInvalidValue);
  auto order = topological_order(*graph(g));
  auto& nodes = ((GraphExec*)e)->nodes;
  cudaGraphExecUpdateResult result = cudaGraphExecUpdateSuccess;
  if (order.size() != nodes.size()) result = cudaGraphExecUpdateErrorTopologyChanged;
  for (size_t i = 0; result == cudaGraphExecUpdateSuccess && i < nodes.size(); ++i) {
    if (order[i]->type != nodes[i].type)
      result = cudaGraphExecUpdateErrorNodeTypeChanged;
    else if (order[i]->dependencies.size() != nodes[i].dependencies.size())
      result = cudaGraphExecUpdateErrorTopologyChanged;
  }
  if (info) {
    memset(info, 0, sizeof *info);
    info->result = result;
  }
  if (result != cudaGraphExecUpdateSuccess) return report(cudaErrorGraphExecUpdateFailure);
  for (size_t i = 0; i < nodes.size(); ++i) {
    const uint64_t id = nodes[i].id;
    nodes[i] = *order[i];
    nodes[i].id = id;
  }
  return cudaSuccess;
}

cudaError_t cudaGraphAddKernelNode(cudaGraphNode_t* out, cudaGraph_t g, const cudaGraphNode_t* deps,
                                   size_t n, const cudaKernelNodeParams* p) {
  Node staged;
  if (cudaError_t e = set_kernel(&staged, p)) return report(e);
  Node* x = add(g, deps, n, cudaGraphNodeTypeKernel, staged.run);
  x->kernel = staged.kernel;
  *out = (cudaGraphNode_t)x;
  return cudaSuccess;
}
cudaError_t cudaGraphAddEmptyNode(cudaGraphNode_t* out, cudaGraph_t g, const cudaGraphNode_t* deps,
                                  size_t n) {
  *out = (cudaGraphNode_t)add(g, deps, n, cudaGraphNodeTypeEmpty, nullptr);
  return cudaSuccess;
}
cudaError_t cudaGraphAddHostNode(cudaGraphNode_t* out, cudaGraph_t g, const cudaGraphNode_t* deps,
                                 size_t n, const cudaHostNodeParams* p) {
  const cudaHostNodeParams h = *p;
  *out = (cudaGraphNode_t)add(g, deps, n, cudaGraphNodeTypeHost, [h] { h.fn(h.userData); });
  return cudaSuccess;
}
cudaError_t cudaGraphAddMemcpyNode1D(cudaGraphNode_t* out, cudaGraph_t g,
                                     const cudaGraphNode_t* deps, size_t n, void* dst,
                                     const void* src, size_t count, cudaMemcpyKind) {
  *out = (cudaGraphNode_t)add(g, deps, n, cudaGraphNodeTypeMemcpy, [=] {
    memmove(cudasim_storage(dst, count, "memcpy node destination"),
            cudasim_storage(src, count, "memcpy node source"), count);
  });
  return cudaSuccess;
}
cudaError_t cudaGraphAddMemsetNode(cudaGraphNode_t* out, cudaGraph_t g, const cudaGraphNode_t* deps,
                                   size_t n, const cudaMemsetParams* p) {
  const cudaMemsetParams m = *p;
  *out = (cudaGraphNode_t)add(g, deps, n, cudaGraphNodeTypeMemset, [m] {
    for (size_t row = 0; row < m.height; ++row) {
      auto* d = (uint8_t*)cudasim_storage((uint8_t*)m.dst + row * m.pitch, m.width * m.elementSize,
                                          "memset node");
      for (size_t i = 0; i < m.width; ++i) memcpy(d + i * m.elementSize, &m.value, m.elementSize);
    }
  });
  return cudaSuccess;
}
cudaError_t cudaGraphAddDependencies(cudaGraph_t, const cudaGraphNode_t* from,
                                     const cudaGraphNode_t* to, const cudaGraphEdgeData*,
                                     size_t n) {
  for (size_t i = 0; i < n; ++i) node(to[i])->dependencies.push_back(node(from[i]));
  return cudaSuccess;
}
cudaError_t cudaGraphKernelNodeSetParams(cudaGraphNode_t n, const cudaKernelNodeParams* p) {
  return report(set_kernel(node(n), p));
}
cudaError_t cudaGraphExecKernelNodeSetParams(cudaGraphExec_t e, cudaGraphNode_t n,
                                             const cudaKernelNodeParams* p) {
  for (Node& x : ((GraphExec*)e)->nodes)
    if (x.id == node(n)->id) {
      const cudaError_t r =
          x.type == cudaGraphNodeTypeKernel ? set_kernel(&x, p) : cudaErrorInvalidValue;
      return report(r);
    }
  return report(cudaErrorInvalidValue);
}
cudaError_t cudaGraphGetNodes(cudaGraph_t g, cudaGraphNode_t* nodes, size_t* count) {
  const size_t total = graph(g)->nodes.size();
  if (nodes)
    for (size_t i = 0; i < std::min(*count, total); ++i)
      nodes[i] = (cudaGraphNode_t)graph(g)->nodes[i].get();
  *count = nodes ? std::min(*count, total) : total;
  return cudaSuccess;
}
cudaError_t cudaGraphGetEdges(cudaGraph_t g, cudaGraphNode_t* from, cudaGraphNode_t* to,
                              cudaGraphEdgeData*, size_t* count) {
  size_t i = 0;
  for (auto& n : graph(g)->nodes)
    for (Node* d : n->dependencies) {
      if (from && to && i < *count) from[i] = (cudaGraphNode_t)d, to[i] = (cudaGraphNode_t)n.get();
      ++i;
    }
  *count = i;
  return cudaSuccess;
}
cudaError_t cudaGraphNodeGetType(cudaGraphNode_t n, cudaGraphNodeType* type) {
  *type = node(n)->type;
  return cudaSuccess;
}

}  // extern "C"
