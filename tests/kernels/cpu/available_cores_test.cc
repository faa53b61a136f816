#include "kernels/cpu/available_cores.h"

#include <sched.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace retnet::cpu {
namespace {

// A folder in place of the machine's files.
class AvailableCoresTest : public testing::Test {
 protected:
  AvailableCoresTest() {
    root_ = testing::TempDir() + "available_cores_XXXXXX";
    EXPECT_NE(mkdtemp(root_.data()), nullptr);
  }
  ~AvailableCoresTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  void WriteQuota(const std::string& group, const std::string& quota) const {
    Write("/sys/fs/cgroup" + group + "/cpu.max", quota);
  }
  void WriteQuotaOfVersion1(const std::string& group, const std::string& quota) const {
    Write("/sys/fs/cgroup/cpu" + group + "/cpu.cfs_quota_us", quota);
    Write("/sys/fs/cgroup/cpu" + group + "/cpu.cfs_period_us", "100000\n");
  }
  // Of 64 cores.
  int32_t Within() const { return CoresWithinQuotas(64, root_); }

  std::string root_;
};

TEST_F(AvailableCoresTest, AreThoseOfTheAffinityMaskWithoutGroups) {
  cpu_set_t all;
  ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
  std::vector<int> processors;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &all)) processors.push_back(i);
  }
  // The mask is the thread's alone, so the test's own stays.
  std::thread([&] {
    for (size_t count = processors.size(); count > 0; --count) {
      cpu_set_t some;
      CPU_ZERO(&some);
      for (size_t i = 0; i < count; ++i) CPU_SET(processors[i], &some);
      ASSERT_EQ(sched_setaffinity(0, sizeof some, &some), 0);
      EXPECT_EQ(AvailableCores(root_), count);
    }
    Write("/proc/self/cgroup", "0::/\n");
    WriteQuota("", "6400000 100000\n");
    EXPECT_EQ(AvailableCores(root_), 1) << "the mask's one core is less than the quota's 64";
  }).join();
}

TEST_F(AvailableCoresTest, AreBoundByTheQuotaOfTheGroup) {
  Write("/proc/self/cgroup", "0::/\n");
  EXPECT_EQ(Within(), 64) << "the group has no file";
  WriteQuota("", "max 100000\n");
  EXPECT_EQ(Within(), 64);
  WriteQuota("", "300000 100000\n");
  EXPECT_EQ(Within(), 3);
  EXPECT_EQ(CoresWithinQuotas(2, root_), 2) << "a quota adds no cores";
  WriteQuota("", "250000 100000\n");
  EXPECT_EQ(Within(), 3) << "rounded up";
  WriteQuota("", "50000 25000\n");
  EXPECT_EQ(Within(), 2) << "the period counts";
  WriteQuota("", "100000 100000\n");
  EXPECT_EQ(AvailableCores(root_), 1);
}

TEST_F(AvailableCoresTest, AreAtLeastOne) {
  Write("/proc/self/cgroup", "0::/\n");
  WriteQuota("", "1000 100000\n");
  EXPECT_EQ(Within(), 1);
  EXPECT_EQ(AvailableCores(root_), 1);
}

TEST_F(AvailableCoresTest, AreBoundByTheQuotasOfAllAncestors) {
  Write("/proc/self/cgroup", "0::/pod/container/worker\n");
  WriteQuota("/pod/container/worker", "max 100000\n");
  WriteQuota("/pod/container", "900000 100000\n");
  WriteQuota("/pod", "500000 100000\n");
  EXPECT_EQ(Within(), 5);
  WriteQuota("/pod/container", "400000 100000\n");
  EXPECT_EQ(Within(), 4);
  WriteQuota("/pod/container/worker", "200000 100000\n");
  EXPECT_EQ(Within(), 2);
  WriteQuota("", "100000 100000\n");
  EXPECT_EQ(Within(), 1);
  WriteQuota("/other", "1000 100000\n");
  Write("/proc/self/cgroup", "0::/elsewhere\n");
  WriteQuota("", "700000 100000\n");
  EXPECT_EQ(Within(), 7) << "groups that are no ancestors do not count";
}

TEST_F(AvailableCoresTest, AreBoundByTheFirstVersionOfGroupsToo) {
  Write("/proc/self/cgroup",
        "5:memory:/docker/a\n4:cpuset:/docker/a\n3:cpu,cpuacct:/docker/a\n1:name=systemd:/\n");
  EXPECT_EQ(Within(), 64);
  WriteQuotaOfVersion1("/docker/a", "-1\n");
  EXPECT_EQ(Within(), 64) << "-1 is no quota";
  WriteQuotaOfVersion1("/docker", "450000\n");
  EXPECT_EQ(Within(), 5);
  WriteQuotaOfVersion1("/docker/a", "350000\n");
  EXPECT_EQ(Within(), 4);
  WriteQuotaOfVersion1("", "200000\n");
  EXPECT_EQ(Within(), 2);
  Write("/proc/self/cgroup", "4:cpuset,memory:/docker/a\n");
  EXPECT_EQ(Within(), 64) << "only the group of the controller cpu counts";
}

TEST_F(AvailableCoresTest, OfTheMachineAreThoseOfItsOwnFiles) {
  cpu_set_t all;
  ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
  EXPECT_EQ(AvailableCores(), CoresWithinQuotas(CPU_COUNT(&all)));
}

}  // namespace
}  // namespace retnet::cpu
