#include "server/ops/file_descriptor.h"

#include <sys/resource.h>

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"

namespace retnet {

int DescriptorLimit() {
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<int>(std::min<rlim_t>(limit.rlim_cur, std::numeric_limits<int>::max()));
}

absl::Status RaiseDescriptorLimit() {
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);  // where it is refused, the limit stays as it was
  if (DescriptorLimit() >= kLeastDescriptors) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("this process may open ", DescriptorLimit(), " files; it needs at least ",
                   kLeastDescriptors, ": raise the hard limit (ulimit -Hn, LimitNOFILE=)"));
}

}  // namespace retnet
