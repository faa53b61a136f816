// Events.
#include "cudart/scheduler.h"

namespace cudasim::rt {

Event* event_of(cudaEvent_t h) {
  Lock lock(sched().mutex);
  auto it = sched().events.find((Event*)h);
  return it == sched().events.end() ? nullptr : *it;
}

}  // namespace cudasim::rt

using namespace cudasim;
using namespace cudasim::rt;

namespace {

cudaError_t create_event(cudaEvent_t* out, unsigned flags) {
  if (!out) return report(cudaErrorInvalidValue);
  auto* e = new Event;
  e->flags = flags;
  Lock lock(sched().mutex);
  sched().events.insert(e);
  *out = (cudaEvent_t)e;
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaEventCreate(cudaEvent_t* e) { return create_event(e, 0); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned flags) {
  return create_event(e, flags);
}
cudaError_t cudaEventDestroy(cudaEvent_t h) {
  Event* e = event_of(h);
  if (!e) return report(cudaErrorInvalidResourceHandle);
  Lock lock(sched().mutex);
  sched().events.erase(e);
  delete e;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t eh, cudaStream_t h) {
  Stream* s = stream_of(h);
  Event* e = event_of(eh);
  if (!s || !e) return report(cudaErrorInvalidResourceHandle);
  Lock lock(sched().mutex);
  if (s->capture) {
    e->capture = s->capture;
    e->tail = s->tail;
    e->stream = nullptr;
    return cudaSuccess;
  }
  if (cudaError_t err = check_legacy(s)) return report(err);
  e->capture = nullptr;
  e->stream = s;
  e->queried = false;
  e->time = std::make_shared<Clock::time_point>();
  auto time = e->time;
  e->position = s->submitted + 1;
  return report(enqueue(lock, s, [time] { *time = Clock::now(); }));
}
cudaError_t cudaEventRecordWithFlags(cudaEvent_t e, cudaStream_t h, unsigned) {
  return cudaEventRecord(e, h);
}
cudaError_t cudaEventSynchronize(cudaEvent_t eh) {
  Event* e = event_of(eh);
  if (!e) return report(cudaErrorInvalidResourceHandle);
  Lock lock(sched().mutex);
  if (e->capture) return report(cudaErrorCapturedEvent);
  if (e->stream) drain(lock, e->stream, e->position);
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t eh) {
  Event* e = event_of(eh);
  if (!e) return report(cudaErrorInvalidResourceHandle);
  Lock lock(sched().mutex);
  if (e->capture) return report(cudaErrorCapturedEvent);
  if (!e->stream || e->stream->completed >= e->position) return cudaSuccess;
  if (e->queried) {
    drain(lock, e->stream, e->position);
    return cudaSuccess;
  }
  e->queried = true;
  return cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t a, cudaEvent_t b) {
  Event *x = event_of(a), *y = event_of(b);
  if (!x || !y || !ms) return report(cudaErrorInvalidResourceHandle);
  Lock lock(sched().mutex);
  if (!x->stream || !y->stream || ((x->flags | y->flags) & cudaEventDisableTiming))
    return report(cudaErrorInvalidResourceHandle);
  if (x->stream->completed < x->position || y->stream->completed < y->position)
    return cudaErrorNotReady;
  *ms = std::chrono::duration<float, std::milli>(*y->time - *x->time).count();
  return cudaSuccess;
}

}  // extern "C"
