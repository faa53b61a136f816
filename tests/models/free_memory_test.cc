#include "models/free_memory.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/models/random_checkpoint.h"
#include "tests/models/safetensors_writer.h"

namespace retnet {
namespace {

class FreeMemoryOf : public ::testing::Test {
 protected:
  void Write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    WriteFile(root_ + path, text);
  }

  std::string root_ = MakeTemporaryFolder();
};

TEST_F(FreeMemoryOf, AMachineIsWhatIsAvailable) {
  Write("/proc/meminfo", "MemTotal:       100 kB\nMemAvailable:    50 kB\n");
  const FreeMemory free = ReadFreeMemory(root_);
  EXPECT_EQ(free.bytes, 50 * 1024);
  EXPECT_EQ(free.limit, 100 * 1024);
  EXPECT_EQ(free.limit_file, "/proc/meminfo");
  EXPECT_GT(ReadFreeMemory().bytes, 0);
}

TEST_F(FreeMemoryOf, AGroupIsBoundByAllItsAncestors) {
  Write("/proc/meminfo", "MemAvailable: 1000 kB\n");
  Write("/proc/self/cgroup", "0::/a/b\n");
  Write("/sys/fs/cgroup/a/b/memory.max", "max\n");
  Write("/sys/fs/cgroup/a/b/memory.current", "5000\n");
  EXPECT_EQ(ReadFreeMemory(root_).bytes, 1000 * 1024);
  EXPECT_EQ(ReadFreeMemory(root_).limit_file, "/proc/meminfo");
  Write("/sys/fs/cgroup/a/memory.max", "90000\n");
  Write("/sys/fs/cgroup/a/memory.current", "50000\n");
  EXPECT_EQ(ReadFreeMemory(root_).bytes, 40000);
  Write("/sys/fs/cgroup/a/memory.stat", "anon 7\ninactive_file 3000\nactive_file 2000\n");
  EXPECT_EQ(ReadFreeMemory(root_).bytes, 45000);
  EXPECT_EQ(ReadFreeMemory(root_).limit, 90000);
  EXPECT_EQ(ReadFreeMemory(root_).limit_file, "/sys/fs/cgroup/a/memory.max");
}

TEST_F(FreeMemoryOf, AContainerReadsItsOwnLimit) {
  Write("/proc/meminfo", "MemAvailable: 1000 kB\n");
  Write("/proc/self/cgroup", "0::/\n");
  Write("/sys/fs/cgroup/memory.max", "90000\n");
  Write("/sys/fs/cgroup/memory.current", "95000\n");
  EXPECT_EQ(ReadFreeMemory(root_).bytes, 0);
}

TEST_F(FreeMemoryOf, TheFirstVersionOfGroupsBindsToo) {
  Write("/proc/meminfo", "MemAvailable: 1000 kB\n");
  Write("/proc/self/cgroup", "4:cpu,cpuacct:/x\n3:memory:/a\n");
  Write("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "90000\n");
  Write("/sys/fs/cgroup/memory/a/memory.usage_in_bytes", "50000\n");
  Write("/sys/fs/cgroup/memory/a/memory.stat", "inactive_file 1\ntotal_inactive_file 10000\n");
  EXPECT_EQ(ReadFreeMemory(root_).bytes, 50000);
  EXPECT_EQ(ReadFreeMemory(root_).limit, 90000);
  EXPECT_EQ(ReadFreeMemory(root_).limit_file, "/sys/fs/cgroup/memory/a/memory.limit_in_bytes");
}

TEST_F(FreeMemoryOf, AGroupWhoseOwnPathIsNotMountedIsBoundByTheOneThatIs) {
  Write("/proc/meminfo", "MemAvailable: 1000 kB\n");
  Write("/proc/self/cgroup", "7:memory:/docker/0123\n");
  Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "90000\n");
  Write("/sys/fs/cgroup/memory/memory.usage_in_bytes", "20000\n");
  EXPECT_EQ(ReadFreeMemory(root_).bytes, 70000);
  EXPECT_EQ(ReadFreeMemory(root_).limit_file, "/sys/fs/cgroup/memory/memory.limit_in_bytes");
}

}  // namespace
}  // namespace retnet
