// The calls that make streams, wait for them and queue host functions on them.
#include <algorithm>

#include "cudart/scheduler.h"

using namespace cudasim;
using namespace cudasim::rt;

namespace {

void merge_tail(std::vector<Node*>& into, const std::vector<Node*>& from) {
  for (Node* n : from)
    if (std::find(into.begin(), into.end(), n) == into.end()) into.push_back(n);
}

cudaError_t create_stream(cudaStream_t* out, unsigned flags, int priority) {
  if (!out || (flags & ~cudaStreamNonBlocking)) return report(cudaErrorInvalidValue);
  Lock lock(sched().mutex);
  *out = (cudaStream_t)sched().make(flags, std::max(-5, std::min(0, priority)));
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaStreamCreate(cudaStream_t* s) { return create_stream(s, 0, 0); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned flags) {
  return create_stream(s, flags, 0);
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* s, unsigned flags, int priority) {
  return create_stream(s, flags, priority);
}
cudaError_t cudaStreamDestroy(cudaStream_t h) {
  Stream* s = stream_of(h);
  if (!s || s->legacy) return report(cudaErrorInvalidResourceHandle);
  Lock lock(sched().mutex);
  drain(lock, s, s->submitted);
  s->destroyed = true;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t h) {
  return report(synchronize_stream(stream_of(h)));
}
cudaError_t cudaStreamQuery(cudaStream_t h) {
  Stream* s = stream_of(h);
  if (!s) return report(cudaErrorInvalidResourceHandle);
  Lock lock(sched().mutex);
  if (s->capture) return report(cudaErrorStreamCaptureUnsupported);
  if (s->completed == s->submitted) return cudaSuccess;
  if (s->queried) {  // the second query finds the work done
    drain(lock, s, s->submitted);
    return cudaSuccess;
  }
  s->queried = true;
  return cudaErrorNotReady;
}
cudaError_t cudaStreamGetFlags(cudaStream_t h, unsigned* flags) {
  Stream* s = stream_of(h);
  if (!s) return report(cudaErrorInvalidResourceHandle);
  *flags = s->flags;
  return cudaSuccess;
}
cudaError_t cudaStreamGetPriority(cudaStream_t h, int* priority) {
  Stream* s = stream_of(h);
  if (!s) return report(cudaErrorInvalidResourceHandle);
  *priority = s->priority;
  return cudaSuccess;
}
cudaError_t cudaStreamGetId(cudaStream_t h, unsigned long long* id) {
  Stream* s = stream_of(h);
  if (!s) return report(cudaErrorInvalidResourceHandle);
  *id = s->id;
  return cudaSuccess;
}
cudaError_t cudaStreamGetDevice(cudaStream_t, int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaStreamSetAttribute(cudaStream_t, cudaLaunchAttributeID,
                                   const cudaLaunchAttributeValue*) {
  return cudaSuccess;
}
cudaError_t cudaStreamAttachMemAsync(cudaStream_t, void*, size_t, unsigned) { return cudaSuccess; }

cudaError_t cudaStreamWaitEvent(cudaStream_t h, cudaEvent_t eh, unsigned) {
  Stream* s = stream_of(h);
  Event* e = event_of(eh);
  if (!s || !e) return report(cudaErrorInvalidResourceHandle);
  Lock lock(sched().mutex);
  if (e->capture) {
    if (s->capture && s->capture != e->capture) {
      s->capture->invalid = true;
      return report(cudaErrorStreamCaptureMerge);
    }
    if (!s->capture) {  // the event pulls this stream into the capture
      s->capture = e->capture;
      s->capture->members.push_back(s);
      s->tail.clear();
    }
    merge_tail(s->tail, e->tail);
    return cudaSuccess;
  }
  if (s->capture) {
    s->capture->invalid = true;
    note("a capturing stream waits for an event recorded outside the capture");
    return report(cudaErrorStreamCaptureIsolation);
  }
  if (!e->stream) return cudaSuccess;
  return report(enqueue(lock, s, nullptr, {{e->stream, e->position}}));
}

cudaError_t cudaLaunchHostFunc(cudaStream_t h, cudaHostFn_t fn, void* data) {
  if (!fn) return report(cudaErrorInvalidValue);
  return report(submit(
      stream_of(h), [fn, data] { fn(data); }, cudaGraphNodeTypeHost));
}
cudaError_t cudaStreamAddCallback(cudaStream_t h, cudaStreamCallback_t fn, void* data, unsigned) {
  if (!fn) return report(cudaErrorInvalidValue);
  return report(submit(
      stream_of(h), [h, fn, data] { fn(h, cudaSuccess, data); }, cudaGraphNodeTypeHost));
}

}  // extern "C"
