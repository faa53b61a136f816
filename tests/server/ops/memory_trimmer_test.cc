// What a peak leaves goes back to the system.
#include "server/ops/memory_trimmer.h"

#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <fstream>
#include <memory>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace retnet {
namespace {

// The memory of this process that is in RAM now.
int64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t mapped = 0;
  int64_t resident = 0;  // both in pages
  statm >> mapped >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

TEST(MemoryTrimmer, ReturnsWhatAPeakHasFreed) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer has an allocator of its own; the ordinary build covers this";
#endif
  constexpr int kBlocks = 64 << 10;
  constexpr int kBlockBytes = 2000;
  const MemoryTrimmer trimmer(absl::Milliseconds(20));
  const int64_t before = ResidentBytes();
  std::vector<std::unique_ptr<char[]>> kept;
  int64_t peak = 0;
  // As in a server: another thread than the main one, and some of its memory stays in use.
  std::thread([&] {
    std::vector<std::unique_ptr<char[]>> blocks;
    for (int i = 0; i < kBlocks; ++i) blocks.push_back(std::make_unique<char[]>(kBlockBytes));
    peak = ResidentBytes();
    for (int i = 0; i < kBlocks; i += 1000) kept.push_back(std::move(blocks[i]));
  }).join();
  ASSERT_GT(peak, before + (60 << 20));
  // Ends only when the memory is back; the test's own time limit tells that it is not.
  while (ResidentBytes() > before + (20 << 20)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace
}  // namespace retnet
