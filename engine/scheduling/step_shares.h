// How a step is divided among tenants. Pure arithmetic.
#ifndef RETNET_ENGINE_SCHEDULING_STEP_SHARES_H_
#define RETNET_ENGINE_SCHEDULING_STEP_SHARES_H_

#include <cstdint>
#include <span>
#include <vector>

#include "engine/scheduling/step_cost.h"

namespace retnet {

// What one tenant wants of a step, or may have.
struct TenantRows {
  int32_t decoding = 0;
  int32_t prompt = 0;
  double share = 1.0;  // of the step; those of all tenants add up to 1
};

// The rows that each tenant may have, in the order of `wanted`: at least 1 for each that wants any.
//
// Each tenant limits the step to the time that its own rows would take alone, divided by its share.
// The smallest limit holds. So with two tenants of equal shares a step takes at most twice what the
// rows of either would take alone. Within that time, and within `max_rows`, nobody gets more than
// its share while another wants more (max-min fairness). A tenant's decoding rows come before those
// of its prompts. While a row's time is not known, rows are all that is shared.
std::vector<TenantRows> ShareStep(std::span<const TenantRows> wanted, int32_t max_rows,
                                  const StepCost::Times& times);

}  // namespace retnet

#endif  // RETNET_ENGINE_SCHEDULING_STEP_SHARES_H_
