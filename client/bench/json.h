// The figures as JSON, under the names of `vllm bench serve` where it has them.
#ifndef RETNET_CLIENT_BENCH_JSON_H_
#define RETNET_CLIENT_BENCH_JSON_H_

#include <nlohmann/json.hpp>
#include <vector>

#include "client/bench/run.h"

namespace retnet {

// One object of figures; of a sweep an object with one of them for each point in "runs".
nlohmann::ordered_json BenchJson(const BenchSetting& setting, const std::vector<BenchRun>& runs);

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_JSON_H_
