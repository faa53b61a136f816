// Capture of streams into graphs.
#include <algorithm>
#include <set>

#include "cudart/scheduler.h"

namespace cudasim::rt {
namespace {

thread_local cudaStreamCaptureMode tl_capture_mode = cudaStreamCaptureModeGlobal;

cudaError_t begin_capture(cudaStream_t stream, Graph* graph, cudaStreamCaptureMode mode) {
  Stream* s = stream_of(stream);
  if (!s) return report(cudaErrorInvalidResourceHandle);
  if (s->legacy) return report(cudaErrorStreamCaptureUnsupported);
  Lock lock(sched().mutex);
  if (s->capture) return report(cudaErrorIllegalState);
  auto* c = new Capture{sched().next_id++, graph, s, mode, std::this_thread::get_id(), false, {s}};
  sched().captures.push_back(c);
  s->capture = c;
  s->tail.clear();
  return cudaSuccess;
}

}  // namespace

cudaError_t check_not_capturing(const char* call, bool) {
  Lock lock(sched().mutex);
  for (Capture* c : sched().captures) {
    const bool mine = c->thread == std::this_thread::get_id();
    if (tl_capture_mode == cudaStreamCaptureModeRelaxed || c->mode == cudaStreamCaptureModeRelaxed)
      continue;
    if (c->mode == cudaStreamCaptureModeThreadLocal && !mine) continue;
    c->invalid = true;
    note("%s is not permitted while a stream is being captured", call);
    return cudaErrorStreamCaptureUnsupported;
  }
  return cudaSuccess;
}

}  // namespace cudasim::rt

using namespace cudasim;
using namespace cudasim::rt;

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t h, cudaStreamCaptureMode mode) {
  return begin_capture(h, new Graph, mode);
}
cudaError_t cudaStreamBeginCaptureToGraph(cudaStream_t h, cudaGraph_t g, const cudaGraphNode_t*,
                                          const cudaGraphEdgeData*, size_t,
                                          cudaStreamCaptureMode mode) {
  return begin_capture(h, (Graph*)g, mode);
}
cudaError_t cudaStreamEndCapture(cudaStream_t h, cudaGraph_t* out) {
  Stream* s = stream_of(h);
  if (!s) return report(cudaErrorInvalidResourceHandle);
  Lock lock(sched().mutex);
  Capture* c = s->capture;
  if (!c) return report(cudaErrorIllegalState);
  if (c->origin != s) {
    c->invalid = true;
    return report(cudaErrorStreamCaptureUnmatched);
  }
  // All work forked to other streams must have been joined back.
  std::set<const Node*> joined;
  std::vector<const Node*> stack(s->tail.begin(), s->tail.end());
  while (!stack.empty()) {
    const Node* n = stack.back();
    stack.pop_back();
    if (!joined.insert(n).second) continue;
    stack.insert(stack.end(), n->dependencies.begin(), n->dependencies.end());
  }
  bool unjoined = false;
  for (Stream* m : c->members)
    for (Node* n : m->tail) unjoined |= !joined.count(n);
  for (Stream* m : c->members) m->capture = nullptr, m->tail.clear();
  for (Event* e : sched().events)
    if (e->capture == c) e->capture = nullptr, e->tail.clear();
  auto& all = sched().captures;
  all.erase(std::find(all.begin(), all.end(), c));
  const bool invalid = c->invalid;
  Graph* g = c->graph;
  delete c;
  if (invalid || unjoined) {
    if (out) *out = nullptr;
    return report(invalid ? cudaErrorStreamCaptureInvalidated : cudaErrorStreamCaptureUnjoined);
  }
  *out = (cudaGraph_t)g;
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t h, cudaStreamCaptureStatus* status) {
  Stream* s = stream_of(h);
  if (!s) return report(cudaErrorInvalidResourceHandle);
  Lock lock(sched().mutex);
  *status = !s->capture           ? cudaStreamCaptureStatusNone
            : s->capture->invalid ? cudaStreamCaptureStatusInvalidated
                                  : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t h, cudaStreamCaptureStatus* status,
                                     unsigned long long* id, cudaGraph_t* graph,
                                     const cudaGraphNode_t** dependencies,
                                     const cudaGraphEdgeData** edges, size_t* count) {
  if (cudaError_t e = cudaStreamIsCapturing(h, status)) return e;
  Stream* s = stream_of(h);
  Lock lock(sched().mutex);
  if (id) *id = s->capture ? s->capture->id : 0;
  if (graph) *graph = s->capture ? (cudaGraph_t)s->capture->graph : nullptr;
  if (dependencies) *dependencies = (const cudaGraphNode_t*)s->tail.data();
  if (edges) *edges = nullptr;
  if (count) *count = s->tail.size();
  return cudaSuccess;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, tl_capture_mode);
  return cudaSuccess;
}

}  // extern "C"
