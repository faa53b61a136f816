#include "tests/server/soak/good_client.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace retnet {
GoodClient::GoodClient(const std::string& address, std::string token)
    : stub_(v1::Generation::NewStub(
          grpc::CreateChannel(address, grpc::InsecureChannelCredentials()))),
      token_(std::move(token)) {
  request_.set_text("Alice was beginning to get very tired");
  request_.set_max_tokens(16);
  request_.set_temperature(0);
  request_.set_ignore_eos(true);
  Complete(request_, &expected_);
}

std::vector<Latency> GoodClient::Run(absl::Duration duration) {
  std::vector<Latency> took;
  for (const absl::Time end = absl::Now() + duration; absl::Now() < end;) {
    std::string text;
    took.push_back(Complete(request_, &text));
    if (text != expected_) Fail(absl::StrCat("\"", text, "\" in place of \"", expected_, "\""));
    absl::SleepFor(absl::Milliseconds(5));
  }
  std::sort(took.begin(), took.end());
  return took;
}

std::vector<Latency> GoodClient::TimePrompts(int32_t tokens, int count) {
  std::mt19937 random(7);
  std::vector<Latency> took;
  for (int i = 0; i < count; ++i) {
    v1::GenerateRequest request;
    for (int32_t token = 0; token < tokens; ++token) {
      request.mutable_token_ids()->add_ids(5 + static_cast<int32_t>(random() % 400));
    }
    request.set_max_tokens(1);
    std::string text;
    took.push_back(Complete(request, &text));
  }
  std::sort(took.begin(), took.end());
  return took;
}

Latency GoodClient::Complete(const v1::GenerateRequest& request, std::string* text) {
  grpc::ClientContext context;
  context.AddMetadata("authorization", "Bearer " + token_);
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  v1::CompleteResponse response;
  const absl::Time start = absl::Now();
  const grpc::Status status = stub_->Complete(&context, request, &response);
  Latency took{.total = absl::ToDoubleMilliseconds(absl::Now() - start)};
  if (!status.ok()) Fail(status.error_message());
  if (response.choices_size() != 1) return took;
  *text = response.choices(0).text();
  const v1::Timings& timings = response.choices(0).finish().timings();
  took.queued = 1000 * timings.queued_seconds();
  took.prefill = 1000 * timings.prefill_seconds();
  took.decode = 1000 * timings.decode_seconds();
  return took;
}

void GoodClient::Fail(const std::string& what) {
  if (++failures_ <= 10) std::fprintf(stderr, "the good client: %s\n", what.c_str());
}

}  // namespace retnet
