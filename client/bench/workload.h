// The requests of a load. Each depends only on the seed and its index.
#ifndef RETNET_CLIENT_BENCH_WORKLOAD_H_
#define RETNET_CLIENT_BENCH_WORKLOAD_H_

#include <cstdint>
#include <random>
#include <vector>

#include "absl/status/status.h"
#include "client/bench/dataset.h"
#include "client/bench/lengths.h"
#include "retnet/v1/generation.pb.h"

namespace retnet {

// How the client treats a stream.
enum class Conduct {
  kReads,    // to the end, as fast as it comes
  kCancels,  // after some tokens
  kDawdles,  // reads with pauses
  kVanishes  // its connection breaks after some tokens
};

struct WorkloadOptions {
  uint64_t seed = 0;
  Lengths input_lengths = Lengths(1024);
  Lengths output_lengths = Lengths(128);
  // Fractions of the requests, together at most 1.
  double cancel_fraction = 0;
  double slow_reader_fraction = 0;
  double vanish_fraction = 0;
  // Sampling options that all requests share.
  v1::GenerateRequest common;
};

struct PlannedRequest {
  v1::GenerateRequest request;
  Conduct conduct = Conduct::kReads;
  int32_t leaves_after = 0;  // tokens after which kCancels and kVanishes leave; 0: at once
};

// Thread-safe: const.
class Workload {
 public:
  // With a dataset, requests take its lines in order and start over at the end.
  Workload(WorkloadOptions options, v1::GetModelResponse model, std::vector<DatasetLine> dataset);

  // INVALID_ARGUMENT if a request could exceed the bounds of the model. The message names no flag.
  absl::Status Fits() const;
  PlannedRequest Request(int64_t index) const;

 private:
  void DrawPrompt(int32_t length, std::mt19937_64* random, v1::GenerateRequest* request) const;

  const WorkloadOptions options_;
  const v1::GetModelResponse model_;
  const std::vector<DatasetLine> dataset_;
  std::vector<int32_t> vocabulary_;  // ids of random prompts: all but BOS and EOS
};

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_WORKLOAD_H_
