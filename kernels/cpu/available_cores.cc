#include "kernels/cpu/available_cores.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace retnet::cpu {
namespace {

int32_t CoresOfAffinity() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  // The mask is too small for a machine with more than 1024 processors.
  return std::max(1u, std::thread::hardware_concurrency());
}

std::string FirstLine(const std::string& path) {
  std::string line;
  std::ifstream file(path);
  std::getline(file, line);
  return line;
}

// The number of cores that a quota allows, rounded up. `quota` and `period` are in microseconds.
// Returns `unlimited` if there is no quota.
int32_t CoresOfQuota(const std::string& quota, const std::string& period, int32_t unlimited) {
  double quota_us, period_us;
  if (!absl::SimpleAtod(quota, &quota_us) || !absl::SimpleAtod(period, &period_us) ||
      quota_us <= 0 || period_us <= 0) {
    return unlimited;
  }
  return static_cast<int32_t>(std::clamp(std::ceil(quota_us / period_us), 1.0, double(unlimited)));
}

}  // namespace

int32_t AvailableCores(const std::string& root) {
  return CoresWithinQuotas(CoresOfAffinity(), root);
}

int32_t CoresWithinQuotas(int32_t cores, const std::string& root) {
  // A line is "id:controllers:/path". Id 0 means version 2. The quotas of all ancestors apply.
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::vector<std::string> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3) continue;
    const bool version2 = fields[0] == "0";
    const std::vector<std::string> controllers = absl::StrSplit(fields[1], ',');
    if (!version2 && std::count(controllers.begin(), controllers.end(), "cpu") == 0) continue;
    const std::string top = root + (version2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu");
    std::string path = fields[2] == "/" ? "" : fields[2];
    while (true) {
      if (version2) {
        const std::vector<std::string> limit =
            absl::StrSplit(FirstLine(top + path + "/cpu.max"), ' ');
        if (limit.size() == 2) cores = CoresOfQuota(limit[0], limit[1], cores);
      } else {
        cores = CoresOfQuota(FirstLine(top + path + "/cpu.cfs_quota_us"),
                             FirstLine(top + path + "/cpu.cfs_period_us"), cores);
      }
      const size_t slash = path.rfind('/');
      if (slash == std::string::npos) break;
      path.resize(slash);
    }
  }
  return cores;
}

}  // namespace retnet::cpu
