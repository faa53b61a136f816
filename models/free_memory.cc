#include "models/free_memory.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace retnet {
namespace {

// The number that follows `key` at the start of a line. If `key` is empty, the first word of the
// file.
std::optional<int64_t> ReadNumber(const std::string& path, std::string_view key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string word;
    words >> word;
    if (!key.empty()) {
      if (word != key) continue;
      words >> word;
    }
    int64_t number = 0;
    if (absl::SimpleAtoi(word, &number)) return number;
    return std::nullopt;
  }
  return std::nullopt;
}

// The files, and the keys of memory.stat, of one version of control groups.
struct Names {
  const char* limit;
  const char* usage;
  const char* inactive_file;
  const char* active_file;
};
constexpr Names kVersion1 = {"/memory.limit_in_bytes", "/memory.usage_in_bytes",
                             "total_inactive_file", "total_active_file"};
constexpr Names kVersion2 = {"/memory.max", "/memory.current", "inactive_file", "active_file"};

// Lowers `free` to what the control group in `folder` leaves.
void BoundByGroup(const std::string& root, const std::string& folder, const Names& names,
                  FreeMemory& free) {
  const std::optional<int64_t> limit = ReadNumber(root + folder + names.limit, "");
  const std::optional<int64_t> usage = ReadNumber(root + folder + names.usage, "");
  if (!limit.has_value() || !usage.has_value()) return;
  const std::string stat = root + folder + "/memory.stat";
  const int64_t files = ReadNumber(stat, names.inactive_file).value_or(0) +
                        ReadNumber(stat, names.active_file).value_or(0);
  const int64_t left = std::max<int64_t>(0, *limit - std::max<int64_t>(0, *usage - files));
  if (left < free.bytes) free = {left, *limit, folder + names.limit};
}

}  // namespace

FreeMemory ReadFreeMemory(const std::string& root) {
  constexpr int64_t kKibibyte = 1024;
  FreeMemory free;
  const std::string machine = root + free.limit_file;
  free.bytes = kKibibyte * ReadNumber(machine, "MemAvailable:").value_or(0);
  free.limit = kKibibyte * ReadNumber(machine, "MemTotal:").value_or(0);
  // A line is "id:controllers:/path". Id 0 means version 2. The limits of all ancestors apply.
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::vector<std::string> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3) continue;
    const bool version2 = fields[0] == "0";
    const std::vector<std::string> controllers = absl::StrSplit(fields[1], ',');
    if (!version2 && std::count(controllers.begin(), controllers.end(), "memory") == 0) continue;
    const std::string top = version2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    std::string path = fields[2];
    while (true) {
      BoundByGroup(root, top + path, version2 ? kVersion2 : kVersion1, free);
      if (path.empty()) break;
      path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
  }
  return free;
}

}  // namespace retnet
