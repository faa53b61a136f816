// cp.async: copies are performed when they are waited for, so that a missing wait shows as poison.
#include <cstring>

#include "runtime/fiber.h"
#include "runtime/options.h"

namespace cudasim {
namespace {

void perform(Fiber* f, const Copy& c) {
  const uint32_t site = f->site;
  f->site = c.site;
  const uint8_t* source =
      c.source ? access_slow(f, c.global, c.source, c.source & (c.source - 1) ? 1 : c.source, kRead)
               : nullptr;
  uint8_t* target = access_shared_slow(f, c.shared, c.size, c.size, kWrite);
  if (c.source) memcpy(target, source, c.source);
  if (c.source < c.size) memset(target + c.source, 0, c.size - c.source);
  f->site = site;
}

}  // namespace

void cp_async(Thread* t, uint64_t shared_offset, uint64_t global_address, unsigned size,
              unsigned source_size) {
  Fiber* f = self(t);
  if (source_size > size)
    fault(t, "cp.async source size %u exceeds the copy size %u", source_size, size);
  if (shared_offset % size || (source_size && global_address % size))
    fault(t, "misaligned cp.async of %u bytes (shared offset %#lx, global %#lx)", size,
          (unsigned long)shared_offset, (unsigned long)global_address);
  if (shared_offset + size > t->block->shared_size)
    fault(t, "cp.async writes shared memory out of bounds: %u bytes at offset %lu of %u", size,
          (unsigned long)shared_offset, t->block->shared_size);
  const Copy c{shared_offset, global_address, size, source_size, t->site};
  if (options().order == 2 && (f->worker->random() & 1)) {  // the hardware may also copy at once
    perform(f, c);
    return;
  }
  f->copies.push_back(c);
  ++f->open;
}

void cp_async_commit(Thread* t) {
  Fiber* f = self(t);
  f->groups.push_back(f->open);
  f->open = 0;
}

void cp_async_wait(Thread* t, uint32_t groups_left) {
  Fiber* f = self(t);
  if (f->groups.size() <= groups_left) return;
  const size_t done = f->groups.size() - groups_left;
  size_t n = 0;
  for (size_t g = 0; g < done; ++g) n += f->groups[g];
  for (size_t i = 0; i < n; ++i) perform(f, f->copies[i]);
  f->copies.erase(f->copies.begin(), f->copies.begin() + n);
  f->groups.erase(f->groups.begin(), f->groups.begin() + done);
}

}  // namespace cudasim
