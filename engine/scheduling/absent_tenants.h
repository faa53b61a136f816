// Tenants that had requests a moment ago and may be back in the middle of the next step.
#ifndef RETNET_ENGINE_SCHEDULING_ABSENT_TENANTS_H_
#define RETNET_ENGINE_SCHEDULING_ABSENT_TENANTS_H_

#include <cstdint>
#include <vector>

#include "engine/request.h"
#include "engine/scheduling/step_cost.h"
#include "engine/scheduling/tenants.h"

namespace retnet {

// A client that sends one request after another has no request for a moment in between. Its next
// request must wait for a step that begins in that moment. So the tenant counts as present, with a
// prompt as long as its newest one, until the others have computed for kExpected without it.
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

  // Call this when the tenant has no sequence any more. `prompt_rows` is the length of its newest
  // prompt, in rows. `now` is the sum of all steps' times so far, in seconds.
  void Add(const Tenant& tenant, int32_t prompt_rows, double now);

  // Of the tenants that are expected at `now` and not among `present`, the one that allows the
  // shortest step. If there is none, the result has no rows.
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
