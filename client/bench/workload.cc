#include "client/bench/workload.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"

namespace retnet {

Workload::Workload(WorkloadOptions options, v1::GetModelResponse model,
                   std::vector<DatasetLine> dataset)
    : options_(std::move(options)), model_(std::move(model)), dataset_(std::move(dataset)) {
  std::set<int32_t> special(model_.eos_token_ids().begin(), model_.eos_token_ids().end());
  if (model_.has_bos_token_id()) special.insert(model_.bos_token_id());
  for (int32_t id = 0; id < model_.vocab_size(); ++id) {
    if (!special.contains(id)) vocabulary_.push_back(id);
  }
}

absl::Status Workload::Fits() const {
  const int32_t context = model_.max_context_length();
  const auto check = [&](int64_t input, int64_t output, const std::string& where) {
    if (input + output <= context) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(where, input, " tokens of prompt and ", output,
                                                   " of output are more than the ", context,
                                                   " that the server takes together"));
  };
  if (dataset_.empty()) {
    return check(options_.input_lengths.Greatest(), options_.output_lengths.Greatest(), "");
  }
  for (size_t i = 0; i < dataset_.size(); ++i) {
    const DatasetLine& line = dataset_[i];
    const int64_t input = line.input_length.value_or(std::max<size_t>(1, line.token_ids.size()));
    const int64_t output = line.output_length.value_or(1);
    const absl::Status fits = check(input, output, absl::StrCat("entry ", i + 1, ": "));
    if (!fits.ok()) return fits;
  }
  return absl::OkStatus();
}

PlannedRequest Workload::Request(int64_t index) const {
  const auto word = [](uint64_t value) { return static_cast<uint32_t>(value); };
  std::seed_seq seed{word(options_.seed), word(options_.seed >> 32), word(index),
                     word(index >> 32)};
  std::mt19937_64 random(seed);
  PlannedRequest planned;
  v1::GenerateRequest& request = planned.request;
  request = options_.common;
  request.set_seed(random());

  const DatasetLine line = dataset_.empty() ? DatasetLine() : dataset_[index % dataset_.size()];
  const int32_t context = model_.max_context_length();
  const int32_t drawn_input = options_.input_lengths.Draw(context - 1, &random);
  int32_t input = 1;  // of a text, whose length only the server knows
  if (!line.text.empty()) {
    request.set_text(line.text);
  } else if (!line.token_ids.empty()) {
    input = line.token_ids.size();
    request.mutable_token_ids()->mutable_ids()->Add(line.token_ids.begin(), line.token_ids.end());
  } else {
    input = line.input_length.value_or(drawn_input);
    DrawPrompt(input, &random, &request);
  }
  const int32_t drawn_output = options_.output_lengths.Draw(context - input, &random);
  request.set_max_tokens(line.output_length.value_or(drawn_output));

  const double lot = std::uniform_real_distribution(0.0, 1.0)(random);
  if (lot < options_.cancel_fraction) {
    planned.conduct = Conduct::kCancels;
  } else if (lot < options_.cancel_fraction + options_.slow_reader_fraction) {
    planned.conduct = Conduct::kDawdles;
  } else if (lot <
             options_.cancel_fraction + options_.slow_reader_fraction + options_.vanish_fraction) {
    planned.conduct = Conduct::kVanishes;
  }
  planned.leaves_after = std::uniform_int_distribution(0, request.max_tokens() - 1)(random);
  return planned;
}

void Workload::DrawPrompt(int32_t length, std::mt19937_64* random,
                          v1::GenerateRequest* request) const {
  std::uniform_int_distribution<size_t> place(0, vocabulary_.size() - 1);
  auto* ids = request->mutable_token_ids()->mutable_ids();
  ids->Reserve(length);
  for (int32_t i = 0; i < length; ++i) ids->AddAlreadyReserved(vocabulary_[place(*random)]);
}

}  // namespace retnet
