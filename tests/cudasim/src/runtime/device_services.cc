// printf, assert and clock for kernels.
#include <chrono>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <string>

#include "runtime/sim.h"

namespace cudasim {
namespace {

std::string read_string(Thread* t, uint64_t address) {
  std::string s;
  for (;; ++address) {
    const char c = (char)*access_slow(t, address, 1, 1, kRead);
    if (!c) return s;
    s += c;
  }
}

}  // namespace

int device_printf(Thread* t, uint64_t format_address, uint64_t args) {
  const std::string format = read_string(t, format_address);
  std::string out;
  int conversions = 0;
  uint64_t at = 0;
  auto fetch = [&](unsigned size) {
    at = (at + size - 1) / size * size;
    uint64_t v = 0;
    memcpy(&v, access_slow(t, args + at, size, size, kRead), size);
    at += size;
    return v;
  };
  char buffer[512];
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      out += format[i];
      continue;
    }
    if (i + 1 < format.size() && format[i + 1] == '%') {
      out += '%';
      ++i;
      continue;
    }
    std::string spec = "%";
    int longs = 0;
    for (++i; i < format.size() && strchr("-+ #0123456789.*", format[i]); ++i) {
      if (format[i] == '*')
        spec += std::to_string((int)fetch(4));
      else
        spec += format[i];
    }
    for (; i < format.size() && strchr("hljztL", format[i]); ++i)
      if (format[i] == 'l' || format[i] == 'j' || format[i] == 'z' || format[i] == 't') ++longs;
    const char c = i < format.size() ? format[i] : 0;
    ++conversions;
    if (strchr("diouxXc", c)) {
      const uint64_t v = longs ? fetch(8) : fetch(4);
      if (c == 'd' || c == 'i') {
        const long long x = longs ? (long long)v : (long long)(int32_t)v;
        snprintf(buffer, sizeof buffer, (spec + "ll" + c).c_str(), x);
      } else if (c == 'c') {
        snprintf(buffer, sizeof buffer, (spec + c).c_str(), (int)v);
      } else {
        snprintf(buffer, sizeof buffer, (spec + "ll" + c).c_str(), (unsigned long long)v);
      }
      out += buffer;
    } else if (c && strchr("eEfFgGaA", c)) {
      const uint64_t v = fetch(8);
      double d;
      memcpy(&d, &v, 8);
      snprintf(buffer, sizeof buffer, (spec + c).c_str(), d);
      out += buffer;
    } else if (c == 's') {
      out += read_string(t, fetch(8));
    } else if (c == 'p') {
      snprintf(buffer, sizeof buffer, "0x%lx", (unsigned long)fetch(8));
      out += buffer;
    } else {
      return -1;
    }
  }
  fwrite(out.data(), 1, out.size(), stdout);
  return conversions;
}

void device_assert(Thread* t, uint64_t message, uint64_t file, uint32_t line, uint64_t function) {
  const std::string m = read_string(t, message), f = read_string(t, file),
                    n = read_string(t, function);
  fault(t, "device assertion `%s' failed in %s (%s:%u)", m.c_str(), n.c_str(), f.c_str(), line);
}

uint64_t device_clock() {
  return (uint64_t)std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace cudasim
