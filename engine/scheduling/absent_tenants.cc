#include "engine/scheduling/absent_tenants.h"

#include <limits>

namespace retnet {

void AbsentTenants::Add(const Tenant& tenant, int32_t prompt_rows, double now) {
  std::erase_if(entries_, [&](const Entry& entry) {
    const bool same =
        entry.tenant.principal == tenant.principal && entry.tenant.connection == tenant.connection;
    return same || entry.left_at + kExpected < now;
  });
  if (entries_.size() == kMost) entries_.erase(entries_.begin());
  entries_.push_back({.tenant = tenant, .prompt_rows = prompt_rows, .left_at = now});
}

AbsentTenants::Expected AbsentTenants::Strictest(Tenants* present, const StepCost::Times& times,
                                                 double now) const {
  Expected strictest;
  double shortest = std::numeric_limits<double>::infinity();
  for (const Entry& entry : entries_) {
    if (entry.left_at + kExpected < now || present->Find(entry.tenant) != nullptr) continue;
    const double bears = (times.step + times.prompt_row * entry.prompt_rows) / entry.tenant.weight;
    if (bears >= shortest) continue;
    shortest = bears;
    strictest = {.prompt_rows = entry.prompt_rows, .weight = entry.tenant.weight};
  }
  return strictest;
}

}  // namespace retnet
