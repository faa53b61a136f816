// The results as JSON. Keys have the names that `vllm bench serve` uses, where it has one.
#ifndef RETNET_CLIENT_BENCH_JSON_H_
#define RETNET_CLIENT_BENCH_JSON_H_

#include <nlohmann/json.hpp>
#include <vector>

#include "client/bench/run.h"

namespace retnet {

// One object of results. For a sweep, an object whose "runs" holds one such object for each point.
nlohmann::ordered_json BenchJson(const BenchSetting& setting, const std::vector<BenchRun>& runs);

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_JSON_H_
