// Tenants that had requests a moment ago and may be back in the middle of the next step.
#ifndef RETNET_ENGINE_SCHEDULING_ABSENT_TENANTS_H_
#define RETNET_ENGINE_SCHEDULING_ABSENT_TENANTS_H_

#include <cstdint>
#include <vector>

#include "engine/request.h"
#include "engine/scheduling/step_cost.h"
#include "engine/scheduling/tenants.h"

namespace retnet {

// A client that sends one request after the other has none for a moment between two. A step that
// begins in that moment is one that its next request waits for. So the tenant is expected back with
// a prompt like its last one, for as long as the others compute kExpected without it.
// Thread-compatible.
class AbsentTenants {
 public:
  // Step time, in seconds, after which a tenant is no longer expected.
  static constexpr double kExpected = 2.0;
  // Of more tenants than this, those that left last are expected.
  static constexpr size_t kMost = 64;

  struct Expected {
    int32_t prompt_rows = 0;
    double weight = 1.0;
  };

  // The tenant's last sequence has left; its last prompt had so many rows. `now` is the step time
  // of all steps so far, in seconds.
  void Add(const Tenant& tenant, int32_t prompt_rows, double now);

  // Of those expected at `now` and not `present`, the one that bears the shortest step; one of no
  // rows if nobody is.
  Expected Strictest(Tenants* present, const StepCost::Times& times, double now) const;

 private:
  struct Entry {
    Tenant tenant;
    int32_t prompt_rows;
    double left_at;
  };
  std::vector<Entry> entries_;  // the one that left last is the last; each tenant once
};

}  // namespace retnet

#endif  // RETNET_ENGINE_SCHEDULING_ABSENT_TENANTS_H_
