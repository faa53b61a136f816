// Counters of the engine, taken as one consistent picture.
#ifndef RETNET_ENGINE_STATS_H_
#define RETNET_ENGINE_STATS_H_

#include <cstdint>

namespace retnet {

struct EngineStats {
  int32_t waiting = 0;  // accepted, without a slot
  int32_t running = 0;  // with a slot
  int32_t free_slots = 0;
  int64_t steps = 0;
  int64_t prompt_tokens = 0;  // computed
  int64_t generated_tokens = 0;
  int64_t requests_finished = 0;  // in whatever way
  int64_t requests_refused = 0;   // by Submit
};

}  // namespace retnet

#endif  // RETNET_ENGINE_STATS_H_
