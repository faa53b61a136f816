// When queued work runs. By default that is at its submission. With CUDASIM_ASYNC=1 it stays queued
// until something waits for it, so that results read without the necessary synchronisation are seen
// to be missing.
#include "cudart/scheduler.h"

#include "runtime/fault.h"
#include "runtime/options.h"

namespace cudasim::rt {
namespace {

thread_local Stream* tl_per_thread = nullptr;

// Deferred work that nothing waits for (for example a host function that signals a thread) runs
// after a while.
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

}  // namespace

Scheduler& sched() {
  static Scheduler* s = new Scheduler;
  return *s;
}

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
    if (op.run) op.run();
    lock.lock();
    s->busy = false;
    ++s->completed;
    d.changed.notify_all();
  }
}

cudaError_t enqueue(Lock& lock, Stream* s, std::function<void()> run,
                    std::vector<Dependency> dependencies) {
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

}  // namespace cudasim::rt

cudaError_t cudasim_submit(cudaStream_t stream, std::function<void()> work) {
  return cudasim::rt::submit(cudasim::rt::stream_of(stream), std::move(work),
                             cudaGraphNodeTypeKernel);
}
