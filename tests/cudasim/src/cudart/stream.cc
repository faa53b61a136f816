// Streams, events, host functions and stream capture.
//
// By default work runs when it is submitted. With CUDASIM_ASYNC=1 it stays queued until something waits for
// it, so that results read without the necessary synchronisation are seen to be missing.
#include <algorithm>
#include <atomic>
#include <set>
#include <unordered_set>

#include "cudart/state.h"
#include "runtime/fault.h"
#include "runtime/options.h"

namespace cudasim::rt {
namespace {

using Clock = std::chrono::steady_clock;
using Lock = std::unique_lock<std::mutex>;

struct Scheduler {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Stream*> streams;  // all streams ever created (never freed)
  Stream* legacy = nullptr;
  std::unordered_set<Event*> events;
  std::vector<Capture*> captures;
  uint64_t next_id = 1;
  bool flusher_started = false;

  Scheduler() {
    legacy = make(0, 0);
    legacy->legacy = true;
  }
  Stream* make(unsigned flags, int priority) {
    auto* s = new Stream;
    s->flags = flags;
    s->priority = priority;
    s->id = next_id++;
    streams.push_back(s);
    return s;
  }
};
Scheduler& sched() {
  static Scheduler* s = new Scheduler;
  return *s;
}

thread_local Stream* tl_per_thread = nullptr;
thread_local cudaStreamCaptureMode tl_capture_mode = cudaStreamCaptureModeGlobal;
thread_local int tl_running = 0;  // inside a stream operation on this OS thread

// Runs queued operations of the stream until `position` of them have completed.
void drain(Lock& lock, Stream* s, uint64_t position) {
  Scheduler& d = sched();
  while (s->completed < position) {
    if (s->busy) {
      if (s->runner == std::this_thread::get_id())
        host_fault("a host function called a CUDA function that waits for its own stream");
      d.changed.wait(lock);
      continue;
    }
    if (s->queue.empty()) return;
    Operation op = std::move(s->queue.front());
    s->queue.pop_front();
    s->busy = true;
    s->runner = std::this_thread::get_id();
    for (const Dependency& dep : op.dependencies) drain(lock, dep.stream, dep.position);
    lock.unlock();
    ++tl_running;
    if (op.run) op.run();
    --tl_running;
    lock.lock();
    s->busy = false;
    ++s->completed;
    d.changed.notify_all();
  }
}

// Deferred work that nothing waits for (for example a host function that signals a thread) runs after a while.
void start_flusher() {
  Scheduler& d = sched();
  if (d.flusher_started || !options().async || options().async_flush_ms <= 0) return;
  d.flusher_started = true;
  std::thread([&d] {
    const auto age = std::chrono::milliseconds(options().async_flush_ms);
    for (;;) {
      std::this_thread::sleep_for(age / 4);
      Lock lock(d.mutex);
      const auto now = Clock::now();
      for (size_t i = 0; i < d.streams.size(); ++i) {
        Stream* s = d.streams[i];
        if (!s->queue.empty() && !s->busy && now - s->queue.front().submitted > age)
          drain(lock, s, s->submitted);
      }
    }
  }).detach();
}

void add_implicit_dependencies(Stream* s, Operation& op) {
  Scheduler& d = sched();
  if (s->legacy) {
    for (Stream* o : d.streams)
      if (o != s && o->blocking() && o->completed < o->submitted)
        op.dependencies.push_back({o, o->submitted});
  } else if (s->blocking() && d.legacy->completed < d.legacy->submitted) {
    op.dependencies.push_back({d.legacy, d.legacy->submitted});
  }
}

cudaError_t enqueue(Lock& lock, Stream* s, std::function<void()> run,
                    std::vector<Dependency> dependencies = {}) {
  Operation op;
  op.run = std::move(run);
  op.dependencies = std::move(dependencies);
  op.submitted = Clock::now();
  add_implicit_dependencies(s, op);
  s->queue.push_back(std::move(op));
  const uint64_t position = ++s->submitted;
  s->queried = false;
  if (!options().async)
    drain(lock, s, position);
  else
    start_flusher();
  return cudaSuccess;
}

// The legacy stream may not be used while a blocking stream is being captured.
cudaError_t check_legacy(Stream* s) {
  if (!s->legacy) return cudaSuccess;
  for (Capture* c : sched().captures)
    for (Stream* m : c->members)
      if (m->blocking()) {
        c->invalid = true;
        note("the default stream is used while a blocking stream is being captured");
        return cudaErrorStreamCaptureImplicit;
      }
  return cudaSuccess;
}

void merge_tail(std::vector<Node*>& into, const std::vector<Node*>& from) {
  for (Node* n : from)
    if (std::find(into.begin(), into.end(), n) == into.end()) into.push_back(n);
}

}  // namespace

std::mutex& api_mutex() { return sched().mutex; }

Stream* stream_of(cudaStream_t h) {
  Scheduler& d = sched();
  if (h == nullptr || h == cudaStreamLegacy) return d.legacy;
  if (h == cudaStreamPerThread) {
    if (!tl_per_thread) {
      Lock lock(d.mutex);
      tl_per_thread = d.make(0, 0);
    }
    return tl_per_thread;
  }
  auto* s = (Stream*)h;
  Lock lock(d.mutex);
  for (Stream* o : d.streams)
    if (o == s) return s->destroyed ? nullptr : s;
  return nullptr;
}

cudaError_t submit(Stream* s, std::function<void()> run, cudaGraphNodeType type,
                   const KernelCall* kernel) {
  if (!s) return cudaErrorInvalidResourceHandle;
  Lock lock(sched().mutex);
  if (s->capture) {
    if (s->capture->invalid) return cudaErrorStreamCaptureInvalidated;
    auto node = std::make_unique<Node>();
    node->type = type;
    node->run = std::move(run);
    if (kernel) node->kernel = *kernel;
    node->dependencies = s->tail;
    s->tail = {node.get()};
    s->capture->graph->nodes.push_back(std::move(node));
    return cudaSuccess;
  }
  if (cudaError_t e = check_legacy(s)) return e;
  return enqueue(lock, s, std::move(run));
}

cudaError_t synchronize_stream(Stream* s) {
  if (!s) return cudaErrorInvalidResourceHandle;
  Lock lock(sched().mutex);
  if (s->capture) {
    s->capture->invalid = true;
    note("a capturing stream was synchronised");
    return cudaErrorStreamCaptureUnsupported;
  }
  if (cudaError_t e = check_legacy(s)) return e;
  if (s->legacy)  // the legacy stream completes after all blocking streams
    for (size_t i = 0; i < sched().streams.size(); ++i) {
      Stream* o = sched().streams[i];
      if (o->blocking()) drain(lock, o, o->submitted);
    }
  drain(lock, s, s->submitted);
  return cudaSuccess;
}

cudaError_t synchronize_device() {
  Lock lock(sched().mutex);
  for (size_t i = 0; i < sched().streams.size(); ++i)
    drain(lock, sched().streams[i], sched().streams[i]->submitted);
  return cudaSuccess;
}

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

cudaError_t cudasim_submit(cudaStream_t stream, std::function<void()> work) {
  return submit(stream_of(stream), std::move(work), cudaGraphNodeTypeKernel);
}

namespace {

cudaError_t create_stream(cudaStream_t* out, unsigned flags, int priority) {
  if (!out || (flags & ~cudaStreamNonBlocking)) return report(cudaErrorInvalidValue);
  Lock lock(sched().mutex);
  *out = (cudaStream_t)sched().make(flags, std::max(-5, std::min(0, priority)));
  return cudaSuccess;
}

Event* event_of(cudaEvent_t h) {
  Lock lock(sched().mutex);
  auto it = sched().events.find((Event*)h);
  return it == sched().events.end() ? nullptr : *it;
}

cudaError_t create_event(cudaEvent_t* out, unsigned flags) {
  if (!out) return report(cudaErrorInvalidValue);
  auto* e = new Event;
  e->flags = flags;
  Lock lock(sched().mutex);
  sched().events.insert(e);
  *out = (cudaEvent_t)e;
  return cudaSuccess;
}

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

extern "C" {

// Streams.
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

// Events.
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

// Capture.
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
